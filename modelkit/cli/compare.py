"""``modelkit compare``."""

import sys
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute


def compare(
    a: Annotated[str, typer.Argument(help="The model to trust", show_default=False)],
    b: Annotated[str, typer.Argument(help="The model to check", show_default=False)],
    eval_data: Annotated[
        str | None,
        typer.Option(help="Real inputs: .npz, .npy, .json, .jsonl, .txt (one text a line), folder"),
    ] = None,
    atol: Annotated[float | None, typer.Option(help="Largest absolute difference")] = None,
    rtol: Annotated[float | None, typer.Option(help="Largest relative difference")] = None,
    dim: options.Dim = None,
    max_length: Annotated[int | None, typer.Option(help="Cut texts at this many tokens")] = None,
    providers: options.Providers = "cpu",
    intra_op: options.IntraOp = 1,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Measure how far the outputs of two models are apart; exit 1 when too far.

    Example: modelkit compare model.onnx model.int8.onnx --eval-data sentences.txt
    """
    arguments = {
        "a": a,
        "b": b,
        "eval_data": eval_data,
        "atol": atol,
        "rtol": rtol,
        "dims": options.dims(dim),
        "max_length": max_length,
        "providers": providers,
        "threads": intra_op,
        "seed": seed,
    }
    manner = Manner(json, quiet, verbose, timeout, memory_limit)
    if not execute("compare", arguments, manner).passed:
        sys.exit(1)
