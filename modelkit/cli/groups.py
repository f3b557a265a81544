"""Options that several commands share, as dataclasses that a command takes as one parameter.

``def bench(models: ..., session: Session, manner: Manner)`` has the options of both groups;
:func:`expanded` turns it into the flat signature that Typer reads.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from modelkit.cli import options


@dataclass(frozen=True)
class Manner:
    """How to run and how to talk about it."""

    json: options.Json = False
    quiet: options.Quiet = False
    verbose: options.Verbose = False
    timeout: options.Timeout = None
    memory_limit: options.MemoryLimit = None


@dataclass(frozen=True)
class Writing:
    """How a verb that writes a model proves and writes it."""

    seed: options.Seed = 0
    force: options.Force = False
    dry_run: options.DryRun = False
    verify: options.Verify = True
    custom_ops: options.CustomOps = None

    def arguments(self) -> dict[str, Any]:
        """The fields as keyword arguments of a verb."""
        return dataclasses.asdict(self) | {"custom_ops": self.custom_ops or []}


@dataclass(frozen=True)
class Session:
    """How models are opened; the fields are those of ``runtime.setups.SessionArguments``."""

    intra_op: options.IntraOp = 1
    inter_op: Annotated[
        int, typer.Option("--inter-op", help="Threads between operators", min=1)
    ] = 1
    graph_level: Annotated[
        str, typer.Option(help="ONNX Runtime's own level: none, basic, extended, layout, all")
    ] = "all"
    provider_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of a provider, as cuda.device_id=1; repeatable"),
    ] = None
    session_option: Annotated[
        list[str] | None,
        typer.Option(help="Entry of the session configuration, as key=value; repeatable"),
    ] = None
    custom_ops: options.CustomOps = None
    allow_fallback: options.AllowFallback = False
    min_offload: Annotated[
        float, typer.Option(help="Least share of the arithmetic on the provider asked for")
    ] = 0.9
    trt_shape: Annotated[
        list[str] | None,
        typer.Option(help="TensorRT's range of shapes, as x:1x3,8x3,32x3 (min,opt,max)"),
    ] = None
    cache: Annotated[
        str | None, typer.Option(help="Folder of TensorRT's engines; default: the user's cache")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """The fields as keyword arguments of a verb."""
        fields = dataclasses.asdict(self)
        fields["threads"] = fields.pop("intra_op")
        lists = ("provider_option", "session_option", "custom_ops", "trt_shape")
        return fields | {name: fields[name] or [] for name in lists}


@dataclass(frozen=True)
class Preparation:
    """How files become input values; what is not given comes from the model and its folder."""

    resize: Annotated[
        str | None, typer.Option(help="Images to HxW, or to N on the shortest side")
    ] = None
    crop: Annotated[str | None, typer.Option(help="HxW from the middle of the image")] = None
    resample: Annotated[str | None, typer.Option(help="nearest, bilinear, bicubic or lanczos")] = (
        None
    )
    scale: Annotated[str | None, typer.Option(help="Factor of pixel values, as 1/255")] = None
    mean: Annotated[str | None, typer.Option(help="Subtracted, one a channel, as 0.5,0.5,0.5")] = (
        None
    )
    std: Annotated[str | None, typer.Option(help="Divided by, one a channel")] = None
    layout: Annotated[str | None, typer.Option(help="Axes of images: nchw or nhwc")] = None
    channels: Annotated[str | None, typer.Option(help="rgb, bgr or gray")] = None
    max_length: Annotated[int | None, typer.Option(help="Cut texts at this many tokens", min=1)] = (
        None
    )
    padding: Annotated[str | None, typer.Option(help="longest, max_length or none")] = None
    truncation: Annotated[
        bool | None,
        typer.Option("--truncation/--no-truncation", help="Whether longer texts are cut"),
    ] = None

    def words(self) -> dict[str, Any]:
        """What was given, for ``runtime.data.settings.read_settings``."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Wanted:
    """What a search must keep, and what it is judged on."""

    max_drop: Annotated[
        str | None, typer.Option(help="How much the score or agreement may fall, as 0.5%")
    ] = None
    min_sqnr: Annotated[
        float | None, typer.Option(help="Least signal over noise of the outputs, in decibels")
    ] = None
    min_agreement: Annotated[
        str | None, typer.Option(help="Least share of equal answers, as 99.5%")
    ] = None
    eval_data: Annotated[
        str | None, typer.Option(help="Real inputs to compare on; default: some of --calib-data")
    ] = None
    labels: Annotated[
        str | None, typer.Option(help="True classes or values of the rows: .npy, .json, .txt")
    ] = None
    metric: Annotated[
        str | None, typer.Option(help="top1, top5, f1, mrr, rmse or module:function")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """The fields as keyword arguments of a verb."""
        return dataclasses.asdict(self)


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with each parameter that is a group replaced by the group's fields."""
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not dataclasses.is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind))
            continue
        groups[parameter.name] = kind
        parameters += _fields(kind)
    if not groups:
        return command

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        for name, kind in groups.items():
            fields = [field.name for field in dataclasses.fields(kind)]
            given[name] = kind(**{field: given.pop(field) for field in fields})
        command(**given)

    # Typer asks for the signature and, apart from it, for the annotations.
    named = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    flat.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    flat.__annotations__ = {p.name: p.annotation for p in named}
    del flat.__wrapped__  # or the annotations of the command count
    return flat


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
