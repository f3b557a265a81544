"""``modelkit optimize``."""

from enum import StrEnum
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute, listing
from modelkit.cli.groups import Manner, Preparation, Writing
from modelkit.errors import UsageError


class Level(StrEnum):
    """How far a rewrite may go."""

    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


def _list(wanted: bool) -> None:
    if wanted:
        listing("rewrites")


def optimize(
    source: options.Source,
    writing: Writing,
    preparation: Preparation,
    manner: Manner,
    output: options.Output = None,
    level: Annotated[
        Level,
        typer.Option(help="basic: exact; extended: fusions; all: what the target runs fastest"),
    ] = Level.ALL,
    target: Annotated[str, typer.Option(help="cpu, cuda, tensorrt or any")] = "cpu",
    only: Annotated[
        list[str] | None, typer.Option(help="Apply these passes and fusions only, as a,b")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave these passes and fusions out, as a,b")
    ] = None,
    listed: Annotated[
        bool,
        typer.Option("--list", is_eager=True, callback=_list, help="List passes and fusions"),
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Write this opset")] = None,
    runtime: Annotated[
        str, typer.Option("--for", help="Oldest runtime that must open it, as ort==1.17")
    ] = "",
    dim: Annotated[
        list[str] | None, typer.Option(help="Fix a named axis, as batch=1; repeatable")
    ] = None,
    free_dim: Annotated[
        list[str] | None, typer.Option(help="Name a fixed axis, as x:0=batch; repeatable")
    ] = None,
    extract: Annotated[
        str, typer.Option(help="Cut out what lies between two values, as a..b")
    ] = "",
    shared_cache: Annotated[
        bool,
        typer.Option("--shared-cache", help="Decoder: write into the caches given (only this)"),
    ] = False,
    cache_type: Annotated[
        str, typer.Option(help="With --shared-cache: float32 or int8")
    ] = "float32",
    calib_data: Annotated[
        str | None, typer.Option(help="Real inputs that the scales of an int8 cache come from")
    ] = None,
    eval_data: Annotated[
        str | None, typer.Option(help="Real inputs to compare and to time on, as `run` reads them")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the outputs after each rewrite (slow)")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="List what fired, where, and the near misses")
    ] = False,
    measure: options.Measure = True,
    intra_op: options.RunsOn = None,
) -> None:
    """Rewrite the graph so that it runs faster here, verified and never slower.

    Example: modelkit optimize model.onnx --level all -o model.opt.onnx
    """
    if shared_cache:
        given = {
            "source": source,
            "output": output,
            "cache_type": cache_type,
            "calib_data": calib_data,
            **writing.arguments(),
            "measure": measure,
            "intra_op": intra_op,
        }
        execute("share-cache", given, manner)
        return
    if cache_type != "float32" or calib_data is not None:
        raise UsageError("--cache-type and --calib-data are for --shared-cache", hint="add it")
    arguments = {
        "source": source,
        "output": output,
        "level": level.value,
        "target": target,
        "only": options.listed(only),
        "skip": options.listed(skip),
        "opset": opset,
        "runtime": runtime,
        "dims": options.dims(dim),
        "free_dims": free_dim or [],
        "extract": extract,
        "check": check,
        "eval_data": eval_data,
        "preprocessing": preparation.words(),
        **writing.arguments(),
        "measure": measure,
        "intra_op": intra_op,
    }
    report = execute("optimize", arguments, manner)
    if explain and not manner.json:
        from modelkit.cli.show import show_explanation

        show_explanation(report)
