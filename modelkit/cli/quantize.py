"""``modelkit quantize``."""

from enum import StrEnum
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner, Preparation, Wanted, Writing
from modelkit.errors import UsageError


class Form(StrEnum):
    """How integer layers are written."""

    AUTO = "auto"
    QDQ = "qdq"
    QOP = "qop"


class Calibration(StrEnum):
    """How an activation's range is found."""

    AUTO = "auto"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


class Activations(StrEnum):
    """How the eight bits of activations are read."""

    AUTO = "auto"
    INT8 = "int8"
    UINT8 = "uint8"


class EightBits(StrEnum):
    """How eight bits are read."""

    INT8 = "int8"
    UINT8 = "uint8"


def quantize(
    source: options.Source,
    writing: Writing,
    preparation: Preparation,
    manner: Manner,
    wanted: Wanted,
    output: options.Output = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="8-bit layers, activation ranges found at run time")
    ] = False,
    static: Annotated[
        bool, typer.Option("--static", help="8-bit layers, ranges found from --calib-data")
    ] = False,
    int8_weights: Annotated[
        bool, typer.Option("--int8-weights", help="8-bit weights in blocks, activations in float")
    ] = False,
    int4: Annotated[
        bool, typer.Option("--int4", help="4-bit weights in blocks; better with --calib-data")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="The fastest that keeps what is asked for")
    ] = False,
    block_size: Annotated[
        int, typer.Option(help="Weights that share a scale: 16, 32, 64, 128 or 256")
    ] = 32,
    asymmetric: Annotated[
        bool | None,
        typer.Option(
            "--asymmetric/--symmetric",
            help="Whether blocks of weights have a zero point too; by default in 4 bits",
            show_default=False,
        ),
    ] = None,
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="Real inputs to calibrate on: files as `run` reads them, or module:function"
        ),
    ] = None,
    random_data: Annotated[
        bool, typer.Option("--random-data", help="Calibrate on random inputs (unsafe)")
    ] = False,
    form: Annotated[
        Form,
        typer.Option("--format", help="qdq: portable; qop: ONNX Runtime's integer operators"),
    ] = Form.AUTO,
    calibration: Annotated[
        Calibration, typer.Option(help="How ranges are found; auto: by kind of layer")
    ] = Calibration.AUTO,
    smoothing: Annotated[
        bool,
        typer.Option(
            " /--no-smoothing", help="Leave large channels where they are", show_default=False
        ),
    ] = True,
    target: Annotated[str, typer.Option(help="cpu, tensorrt, cuda or any")] = "cpu",
    per_channel: Annotated[
        bool,
        typer.Option("--per-channel/--per-tensor", help="One weight scale a channel, or only one"),
    ] = True,
    weight_type: Annotated[
        EightBits, typer.Option(help="Type of the weights of --dynamic")
    ] = EightBits.INT8,
    activation_type: Annotated[
        Activations,
        typer.Option(help="Type of the activations of --static; auto: what the target is fast on"),
    ] = Activations.AUTO,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave nodes whose name matches; repeatable regex")
    ] = None,
    exclude_op: Annotated[
        list[str] | None, typer.Option(help="Leave this operator alone; repeatable")
    ] = None,
    measure: options.Measure = True,
    intra_op: options.RunsOn = None,
    report: options.Report = None,
) -> None:
    """Store and compute layers in 8 or 4 bits, gated by accuracy and speed.

    Example: modelkit quantize model.onnx --dynamic -o model.int8.onnx
    """
    kinds = {"dynamic": dynamic, "static": static, "int8-weights": int8_weights, "int4": int4}
    kinds["auto"] = auto
    modes = [name for name, on in kinds.items() if on]
    if len(modes) != 1:
        named = " and ".join(f"--{mode}" for mode in modes)
        raise UsageError(
            f"{named} exclude each other" if modes else "no kind of quantization named",
            hint="one of --dynamic, --static --calib-data FILE, --int8-weights, --int4, and"
            " --auto --max-drop 0.5%",
        )
    arguments = {
        "source": source,
        "output": output,
        "mode": modes[0],
        "calib_data": calib_data,
        "random_data": random_data,
        "preprocessing": preparation.words(),
        "format": form.value,
        "calibration": calibration.value,
        "smoothing": smoothing,
        "target": target,
        "per_channel": per_channel,
        "weight_type": weight_type.value,
        "activation_type": activation_type.value,
        "exclude": exclude or [],
        "exclude_op": exclude_op or [],
        **writing.arguments(),
        "measure": measure,
        "intra_op": intra_op,
        "block_size": block_size,
        "asymmetric": asymmetric,
        **wanted.arguments(),
    }
    execute("quantize", arguments, manner, page=report)
