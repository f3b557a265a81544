"""``modelkit optimize``."""

from enum import StrEnum
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute


class Level(StrEnum):
    """How far a rewrite may go."""

    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


def optimize(
    source: options.Source,
    output: options.Output = None,
    level: Annotated[
        Level,
        typer.Option(help="basic: exact; extended: fusions; all: what the target runs fastest"),
    ] = Level.ALL,
    target: Annotated[str, typer.Option(help="cpu, cuda, tensorrt or any")] = "cpu",
    only: Annotated[
        list[str] | None, typer.Option(help="Apply this pass or fusion only; repeatable")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this pass or fusion out; repeatable")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="List what fired, where, and the near misses")
    ] = False,
    seed: options.Seed = 0,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    verify: options.Verify = True,
    measure: options.Measure = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Rewrite the graph so that it runs faster here, verified and never slower.

    Example: modelkit optimize model.onnx --level all -o model.opt.onnx
    """
    arguments = {
        "source": source,
        "output": output,
        "level": level.value,
        "target": target,
        "only": only or [],
        "skip": skip or [],
        "seed": seed,
        "force": force,
        "dry_run": dry_run,
        "verify": verify,
        "measure": measure,
    }
    manner = Manner(json, quiet, verbose, timeout, memory_limit)
    report = execute("optimize", arguments, manner)
    if explain and not json:
        from modelkit.cli.show import show_explanation

        show_explanation(report)
