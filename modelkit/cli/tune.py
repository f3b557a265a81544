"""``modelkit tune``."""

from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner
from modelkit.errors import UsageError


def tune(
    manner: Manner,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time every rewrite alone, on small models of its own")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Write a table that optimize --target FILE takes"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Time these rewrites only, as a,b")
    ] = None,
    providers: Annotated[str, typer.Option(help="The execution provider to time on")] = "cpu",
    intra_op: options.IntraOp = 1,
    duration: Annotated[
        float, typer.Option(help="Seconds a side and size", min=0.1, max=60.0)
    ] = 1.0,
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:
    """Measure which rewrites pay on this machine.

    Example: modelkit tune --kernels -o here.toml && modelkit optimize model.onnx --target here.toml
    """
    if not kernels:
        raise UsageError("tune needs to know what to measure", hint="modelkit tune --kernels")
    execute(
        "tune",
        {
            "output": output,
            "only": options.listed(only),
            "provider": providers,
            "intra_op": intra_op,
            "seconds": duration,
            "force": force,
            "seed": seed,
        },
        manner,
    )
