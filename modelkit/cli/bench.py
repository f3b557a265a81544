"""``modelkit bench``."""

import sys
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute


def bench(
    models: Annotated[
        list[str], typer.Argument(help="Models; the first row is the baseline", show_default=False)
    ],
    against: Annotated[
        str | None,
        typer.Option(help="Time the source framework too: a model folder or module:factory"),
    ] = None,
    eval_data: Annotated[
        str | None, typer.Option(help="Real inputs: adds the quality against the first row")
    ] = None,
    providers: options.Providers = "cpu",
    dim: options.Dim = None,
    runs: Annotated[int, typer.Option("-n", "--runs", help="Runs a model; 0: by time")] = 0,
    duration: Annotated[float, typer.Option(help="Seconds a model; 0: default")] = 0.0,
    intra_op: options.IntraOp = 1,
    allow_fallback: options.AllowFallback = False,
    save: Annotated[str | None, typer.Option(help="Keep the figures in this JSON file")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with figures kept by --save on this machine")
    ] = None,
    fail_if_slower: Annotated[
        str | None, typer.Option(help="Exit 1 when the last row is this much slower, as 5%")
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Time models against each other, interleaved, with confidence intervals.

    Example: modelkit bench model.onnx model.opt.onnx --dim batch=1 --dim sequence=128
    """
    arguments = {
        "models": models,
        "against": against,
        "eval_data": eval_data,
        "providers": providers,
        "dims": options.dims(dim),
        "runs": runs,
        "duration": duration,
        "threads": intra_op,
        "allow_fallback": allow_fallback,
        "save": save,
        "baseline": baseline,
        "fail_if_slower": fail_if_slower,
        "seed": seed,
    }
    report = execute("bench", arguments, Manner(json, quiet, verbose, timeout, memory_limit))
    if any(row.error for row in report.rows):
        sys.exit(5)
