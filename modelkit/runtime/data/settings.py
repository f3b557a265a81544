"""How files become input values: one record for `run`, `compare`, `bench` and calibration.

What the user types wins over what the model's metadata keeps, and that over the processor files a
Hugging Face folder has beside the model.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import onnx_ir as ir

from modelkit.errors import UsageError
from modelkit.safe import safe

KEY = "modelkit.preprocessing"

LAYOUTS = ("nchw", "nhwc")
CHANNELS = ("rgb", "bgr", "gray")
RESAMPLES = ("nearest", "bilinear", "bicubic", "lanczos")
PADDINGS = ("longest", "max_length", "none")
# Pillow's numbers, which processor files hold.
_PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Preprocessing:
    """Settings; None or "" leaves a step out or to what the model's shape says.

    Attributes:
        resize: (height, width), or (shortest side,).
        crop: (height, width) cut from the middle after resizing.
        resample: how, one of :data:`RESAMPLES`.
        scale: factor of the pixel values 0..255.
        mean, std: subtracted and divided by after scaling; one value a channel, or one for all.
        layout: axes of the input, one of :data:`LAYOUTS`; "" takes it from the input's shape.
        channels: order, one of :data:`CHANNELS`.
        max_length: longest text in tokens.
        padding: of texts in a batch, one of :data:`PADDINGS`.
        truncation: whether longer texts are cut.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    resample: str = "bilinear"
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str = ""
    channels: str = "rgb"
    max_length: int | None = None
    padding: str = "longest"
    truncation: bool = True

    def over(self, below: Self) -> Self:
        """Each setting of this record, and those of ``below`` where this one has the default."""
        default = type(self)()
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        }
        return replace(below, **given)


def read_settings(words: dict[str, Any]) -> Preprocessing:
    """The command line's words: ``{"resize": "128x128", "scale": "1/255", "mean": "0.5"}``.

    Raises:
        UsageError: a word that makes no sense, with how to write it.
    """
    found: dict[str, Any] = {}
    for name, value in words.items():
        if value is None or value == "":
            continue
        if name in ("resize", "crop"):
            found[name] = _lengths(name, str(value))
        elif name in ("mean", "std"):
            found[name] = tuple(_number(name, part) for part in str(value).split(","))
        elif name == "scale":
            found[name] = _number(name, str(value))
        else:
            found[name] = value
    choices = {"layout": LAYOUTS, "channels": CHANNELS, "resample": RESAMPLES, "padding": PADDINGS}
    for name, allowed in choices.items():
        if name in found and found[name] not in allowed:
            raise UsageError(
                f"--{name} {safe(str(found[name]))} is unknown",
                hint=f"one of: {', '.join(allowed)}",
            )
    if any(part == 0 for part in found.get("std", ())):
        raise UsageError("--std 0 divides by nothing")
    return Preprocessing(**found)


def keep_settings(
    model: ir.Model, words: Mapping[str, Any] | None, folder: Path | None = None
) -> None:
    """Keep what was typed, or stands in the processor file of ``folder``, in the metadata.

    Raises:
        UsageError: as :func:`read_settings`.
    """
    settings = resolved(words, model.metadata_props, folder)
    if settings != Preprocessing():
        model.metadata_props[KEY] = json.dumps(asdict(settings), sort_keys=True)


def kept_settings(metadata: Mapping[str, str], folder: Path | None) -> Preprocessing:
    """What the model's metadata keeps over what its folder's processor file says."""
    beside = _processor(folder / "preprocessor_config.json") if folder else Preprocessing()
    try:
        entry = json.loads(metadata.get(KEY, "{}"))
        known = {field.name for field in fields(Preprocessing)}
        words = {name: _word(name, entry[name]) for name in known & set(entry)}
        return read_settings(words).over(beside)
    except (ValueError, TypeError, AttributeError, UsageError):
        return beside


def resolved(
    words: Mapping[str, Any] | None, metadata: Mapping[str, str], folder: Path | None
) -> Preprocessing:
    """What was typed over what the model keeps over what its folder's processor file says.

    Raises:
        UsageError: as :func:`read_settings`.
    """
    return read_settings(dict(words or {})).over(kept_settings(metadata, folder))


def _word(name: str, value: Any) -> Any:
    """A kept value as the command line would say it, so that it is checked as that is."""
    if isinstance(value, list):
        return ("x" if name in ("resize", "crop") else ",").join(map(str, value))
    if name == "max_length" and value is not None:
        return int(value)
    return value


def _processor(file: Path) -> Preprocessing:
    """The settings of a Hugging Face image processor; the defaults where there is none."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        found: dict[str, Any] = {}
        if told.get("do_resize", "size" in told):
            found["resize"] = _side(told.get("size"))
        if told.get("do_center_crop"):
            found["crop"] = _side(told.get("crop_size"), square=True)
        if told.get("do_rescale", True):
            found["scale"] = float(told.get("rescale_factor", 1 / 255))
        if told.get("do_normalize", True) and "image_mean" in told:
            found["mean"] = tuple(map(float, told["image_mean"]))
            found["std"] = tuple(map(float, told["image_std"]))
        found["resample"] = _PILLOW.get(told.get("resample", 2), "bilinear")
        return Preprocessing(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Preprocessing()


def _side(size: Any, *, square: bool = False) -> tuple[int, ...] | None:
    if isinstance(size, int):
        return (size, size) if square else (size,)
    if isinstance(size, dict) and "height" in size:
        return int(size["height"]), int(size["width"])
    if isinstance(size, dict) and "shortest_edge" in size:
        return (int(size["shortest_edge"]),)
    return None


def _lengths(name: str, text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not (len(parts) in (1, 2) and all(part.isdecimal() and int(part) > 0 for part in parts)):
        raise UsageError(
            f"--{name} {safe(text)} is no size",
            hint=f"write --{name} 224x224 (height x width), or --{name} 256 (shortest side)",
        )
    return tuple(map(int, parts))


def _number(name: str, text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"--{name} {safe(text)} is no number", hint="write it as 0.5 or 1/255"
        ) from None
