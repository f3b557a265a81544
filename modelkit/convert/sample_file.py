"""``--sample FILE.npz``: real inputs for the comparison with the framework."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput, UsageError
from modelkit.model import InputSpec
from modelkit.model.files import regular_file
from modelkit.runtime.session import Feeds
from modelkit.safe import safe


def with_sample(source: Source, options: Options) -> Source:
    """``source`` compared on the arrays of the file, and on half of their rows where it can be.

    Raises:
        BadInput: no file of arrays.
        UsageError: an input is missing, or of another type or shape.
    """
    if not options.sample:
        return source
    path = Path(options.sample)
    arrays = _read(path)
    feeds = {spec.name: _fitting(spec, arrays, path) for spec in source.inputs}
    trials = [feeds]
    batches = {spec.shape[0] for spec in source.inputs if spec.shape}
    rows = {len(feeds[spec.name]) for spec in source.inputs if spec.shape}
    if len(batches) == 1 and isinstance(next(iter(batches)), str) and len(rows) == 1:
        count = next(iter(rows))
        if count > 1:
            trials.append({name: value[: (count + 1) // 2] for name, value in feeds.items()})
    return replace(source, trials=tuple(trials), origin=f"--sample {safe(path.name)}")


def _read(path: Path) -> Feeds:
    try:
        held = np.load(regular_file(path), allow_pickle=False)
        if isinstance(held, np.ndarray):
            raise ValueError("it is one array, without a name")
        with held:
            return {name: held[name] for name in held.files}
    except (ValueError, OSError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise BadInput(
            f"{safe(str(path))} is no .npz file of arrays",
            cause=safe(str(error), 200),
            hint="write it with numpy.savez(path, input_name=array)",
        ) from None


def _fitting(spec: InputSpec, arrays: Feeds, path: Path) -> np.ndarray:
    """The array of an input, in its type."""
    if spec.name not in arrays:
        raise UsageError(
            f"{safe(str(path))} has no array '{safe(spec.name)}'",
            cause=f"it has: {', '.join(safe(name, 60) for name in arrays) or 'none'}",
            hint="name the arrays after the inputs",
        )
    value = arrays[spec.name]
    kind = np.dtype(object if spec.dtype == "str" else spec.dtype)
    if spec.dtype == "str":
        value = value.astype(object)
    elif value.dtype != kind:
        same = np.can_cast(value.dtype, kind, casting="same_kind")
        if not same:
            raise UsageError(
                f"'{safe(spec.name)}' in {safe(str(path))} is {value.dtype}, not {kind}",
                hint=f"save it as {kind}",
            )
        value = value.astype(kind)
    fits = len(value.shape) == len(spec.shape) and all(
        isinstance(dim, str) or dim == length
        for dim, length in zip(spec.shape, value.shape, strict=False)
    )
    if not fits:
        raise UsageError(
            f"'{safe(spec.name)}' in {safe(str(path))} is {list(value.shape)},"
            f" not {list(spec.shape)}",
            hint="save it in the shape of the input",
        )
    return value
