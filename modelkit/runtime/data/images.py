"""Pixel values out of image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import BadInput, MissingExtra, UsageError
from modelkit.model.files import regular_file
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.ports import Port, shown
from modelkit.safe import safe

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
_MOST_PIXELS = 200_000_000
_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}


def image_port(inputs: Sequence[Port]) -> Port:
    """The input that takes images: the one of four axes.

    Raises:
        UsageError: there is none, or more than one.
    """
    found = [port for port in inputs if len(port.shape) == 4]
    if len(found) != 1 or len(inputs) != 1:
        names = ", ".join(f"{safe(port.name, 40)}{shown(port.shape)}" for port in inputs)
        raise UsageError(
            "an image fits models of one input with four axes",
            cause=f"this one has: {names}",
            hint="name the input, as --input pixel_values=photo.jpg",
        )
    return found[0]


def read_image(path: Path, port: Port, settings: Preprocessing) -> np.ndarray:
    """The image in ``path`` as one item of a batch, in the type and layout of ``port``.

    Resized to ``settings.resize``, else to the input's fixed height and width; a single axis in
    ``resize`` is the shortest side, and ``crop`` is cut from the middle.

    Raises:
        BadInput: no image that can be read, or of a size that does not fit.
        MissingExtra: Pillow is not installed.
    """
    picture = _opened(path, settings.channels)
    layout = settings.layout or _layout(port)
    height, width = _fixed_size(port, layout)
    size = settings.resize or ((height, width) if height and width else None)
    if size is not None:
        picture = _resized(picture, size, settings.resample)
    crop = settings.crop
    if crop is not None:
        picture = _cropped(picture, (crop[0], crop[-1]))
    values = np.asarray(picture, np.float32)
    values = values[:, :, None] if values.ndim == 2 else values
    if settings.channels == "bgr":
        values = values[:, :, ::-1]
    values = _normalized(values, settings)
    if layout == "nchw":
        values = values.transpose(2, 0, 1)
    return _typed(np.ascontiguousarray(values[None]), port, path)


def _opened(path: Path, channels: str) -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtra("reading images", "image") from None
    shown_path = safe(str(path))
    try:
        with Image.open(regular_file(path)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise BadInput(f"{shown_path} has too many pixels: {picture.size}")
            return picture.convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{shown_path} is not an image that can be read", cause=safe(str(error), 200)
        ) from None


def _layout(port: Port) -> str:
    """Where the channels are: the axis of length 1 or 3, the second one if both or none are."""
    last = port.shape[-1] if port.shape else None
    second = port.shape[1] if len(port.shape) > 1 else None
    return "nhwc" if last in (1, 3) and second not in (1, 3) else "nchw"


def _fixed_size(port: Port, layout: str) -> tuple[int | None, int | None]:
    if len(port.shape) != 4:
        return None, None
    axes = (1, 2) if layout == "nhwc" else (2, 3)
    height, width = (port.shape[axis] for axis in axes)
    return (
        height if isinstance(height, int) and height > 0 else None,
        width if isinstance(width, int) and width > 0 else None,
    )


def _resized(picture: Any, size: Sequence[int], resample: str) -> Any:
    from PIL import Image

    if len(size) == 1:
        factor = size[0] / min(picture.size)
        width, height = (max(1, round(side * factor)) for side in picture.size)
    else:
        height, width = size
    return picture.resize((width, height), getattr(Image.Resampling, resample.upper()))


def _cropped(picture: Any, size: tuple[int, int]) -> Any:
    height, width = size
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _normalized(values: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """``values`` [height, width, channels] scaled, then standardised."""
    if settings.scale is not None:
        values = values * np.float32(settings.scale)
    for name, sign in (("mean", -1), ("std", 0)):
        given = getattr(settings, name)
        if given is None:
            continue
        if len(given) not in (1, values.shape[2]):
            raise UsageError(
                f"--{name} has {len(given)} values, the image {values.shape[2]} channels"
            )
        factor = np.array(given, np.float32)
        values = values - factor if sign else values / factor
    return values


def _typed(values: np.ndarray, port: Port, path: Path) -> np.ndarray:
    kind = np.dtype(port.dtype)
    if kind.kind == "f":
        return values.astype(kind)
    rounded = np.rint(values)
    limits = np.iinfo(kind)
    if rounded.min() < limits.min or rounded.max() > limits.max:
        raise BadInput(f"{safe(str(path))}: its values do not fit {port.dtype}")
    typed: np.ndarray = rounded.astype(kind)
    return typed
