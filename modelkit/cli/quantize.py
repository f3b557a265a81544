"""``modelkit quantize``."""

from enum import StrEnum
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute
from modelkit.errors import UsageError


class EightBits(StrEnum):
    """How eight bits are read."""

    INT8 = "int8"
    UINT8 = "uint8"


def quantize(
    source: options.Source,
    output: options.Output = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="8-bit layers, activation ranges found at run time")
    ] = False,
    per_channel: Annotated[
        bool,
        typer.Option("--per-channel/--per-tensor", help="One weight scale a channel, or only one"),
    ] = True,
    weight_type: Annotated[EightBits, typer.Option(help="Type of the weights")] = EightBits.INT8,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave nodes whose name matches; repeatable regex")
    ] = None,
    exclude_op: Annotated[
        list[str] | None, typer.Option(help="Leave this operator alone; repeatable")
    ] = None,
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
    """Store and compute layers in 8 bits, gated by accuracy and speed.

    Example: modelkit quantize model.onnx --dynamic -o model.int8.onnx
    """
    if not dynamic:
        raise UsageError("no kind of quantization named", hint="add --dynamic")
    arguments = {
        "source": source,
        "output": output,
        "mode": "dynamic",
        "per_channel": per_channel,
        "weight_type": weight_type.value,
        "exclude": exclude or [],
        "exclude_op": exclude_op or [],
        "seed": seed,
        "force": force,
        "dry_run": dry_run,
        "verify": verify,
        "measure": measure,
    }
    execute("quantize", arguments, Manner(json, quiet, verbose, timeout, memory_limit))
