"""``modelkit fp16``."""

from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner, Preparation, Writing


def fp16(
    source: options.Source,
    writing: Writing,
    preparation: Preparation,
    manner: Manner,
    output: options.Output = None,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="bfloat16: the range of float, 3 digits")
    ] = False,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Find the fewest nodes that must keep float")
    ] = False,
    min_sqnr: Annotated[
        float | None, typer.Option(help="Goal in dB; default 50 for FP16, 35 for BF16")
    ] = None,
    max_error: Annotated[
        float | None, typer.Option(help="Goal as largest relative error instead")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Leave nodes whose name or operator matches in float; repeatable regex"),
    ] = None,
    half_io: Annotated[
        bool, typer.Option("--half-io", help="Inputs and outputs become half too")
    ] = False,
    target: Annotated[
        str, typer.Option(help="Where it will run: cuda, tensorrt, cpu or any")
    ] = "cuda",
    calib_data: Annotated[
        str | None, typer.Option(help="Real inputs to find ranges with: files as `run` reads them")
    ] = None,
    measure: options.Measure = True,
) -> None:
    """Halve a model: FP16 or BF16, proven by simulated half arithmetic.

    Example: modelkit fp16 model.onnx -o model.fp16.onnx
    """
    arguments = {
        "source": source,
        "output": output,
        "step": "bf16" if bf16 else "fp16",
        "mixed": mixed,
        "min_sqnr": min_sqnr,
        "max_error": max_error,
        "keep": keep or [],
        "half_io": half_io,
        "target": target,
        "calib_data": calib_data,
        "preprocessing": preparation.words(),
        **writing.arguments(),
        "measure": measure,
    }
    execute("fp16", arguments, manner)
