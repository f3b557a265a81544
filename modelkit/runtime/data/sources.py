"""What ``--input`` names, as one stream of samples."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelkit.errors import BadInput, UsageError
from modelkit.runtime.data import Sample, batched, read_samples
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.ports import Port, shown
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_RANGE = re.compile(r"(ids|uniform):(-?[\d.]+)-(-?[\d.]+)")
_PLAIN = ("normal", "zeros", "ones")
_DEFAULTS = {"batch": 1, "batch_size": 1, "sequence": 128, "sequence_length": 128}


@dataclass(frozen=True)
class Place:
    """How files are read: with which settings, beside which tokenizer, how many at once."""

    settings: Preprocessing
    folder: Path | None
    batch: int = 1


def open_inputs(
    texts: Sequence[str],
    inputs: Sequence[Port],
    place: Place,
    *,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Iterator[Sample]:
    """Samples from ``["data.npz"]``, or ``["ids=tokens.npy", "mask=ones"]``.

    Several inputs named apart run in step; one that has a single value goes with every sample.

    Raises:
        UsageError: no such input, a form nobody knows, streams of different length.
    """
    named = dict(_split(text, inputs) for text in texts)
    if len(named) < len(texts):
        raise UsageError("an input is named twice by --input")
    if "" in named:
        if len(named) > 1:
            raise UsageError(
                "--input without a name gives all inputs, and others are named beside it",
                hint="name each, as --input x=a.npy --input y=b.npy",
            )
        return _read(named[""], inputs, place)
    missing = [port for port in inputs if port.name not in named]
    if missing:
        wanted = " ".join(
            f"--input {safe(p.name, 60)}=... ({p.dtype}{shown(p.shape)})" for p in missing
        )
        raise UsageError(
            f"input '{safe(missing[0].name)}' got no value",
            hint=f"add {wanted}; a file, or normal, zeros, ones, ids:0-100, uniform:0-1",
        )
    random = np.random.default_rng(seed)
    streams = {
        port.name: _stream(named[port.name], port, place, dict(dims or {}), random)
        for port in inputs
    }
    return _in_step(streams)


def _split(text: str, inputs: Sequence[Port]) -> tuple[str, str]:
    """Name and value; the name is "" where there is none."""
    known = {port.name: port for port in inputs}
    for name in sorted(known, key=len, reverse=True):  # names may hold "="
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    if Path(text).exists():
        return "", text
    if _is_random(text) and len(inputs) == 1:
        return inputs[0].name, text
    name, equals, value = text.partition("=")
    if equals and (Path(value).exists() or _is_random(value)):
        names = ", ".join(safe(known_name, 60) for known_name in list(known)[:20])
        raise UsageError(f"the model has no input '{safe(name)}'", hint=f"it has: {names}")
    raise BadInput(
        f"no such file: {safe(value if equals else text)}",
        hint="--input takes a file, or normal, zeros, ones, ids:0-100, uniform:0-1",
    )


def _is_random(text: str) -> bool:
    return text in _PLAIN or _RANGE.fullmatch(text) is not None


def _read(value: str, inputs: Sequence[Port], place: Place) -> Iterator[Sample]:
    return read_samples(
        Path(value),
        inputs,
        settings=place.settings,
        tokenizer_folder=place.folder,
        batch=place.batch,
    )


def _stream(
    value: str, port: Port, place: Place, dims: dict[str, int], random: np.random.Generator
) -> Iterator[Sample]:
    if _is_random(value):
        return iter([Sample(value, {port.name: _random(value, port, dims, random)})])
    path = Path(value)
    if not path.exists():
        raise BadInput(f"no such file: {safe(value)}", hint=f"it is for input '{safe(port.name)}'")
    return batched(_read(value, (port,), place), 1)


def _random(
    value: str, port: Port, dims: dict[str, int], random: np.random.Generator
) -> np.ndarray:
    shape = tuple(_length(port, axis, dims) for axis in range(len(port.shape)))
    if port.dtype == "str":
        raise UsageError(f"input '{safe(port.name)}' is text, which cannot be random")
    kind = np.dtype(port.dtype)
    if value in ("zeros", "ones"):
        return np.full(shape, value == "ones", kind)
    if value == "normal":
        return random.standard_normal(shape).astype(kind)
    found = _RANGE.fullmatch(value)
    assert found is not None
    try:
        low, high = float(found[2]), float(found[3])
    except ValueError:
        raise UsageError(f"--input {safe(value)}: no numbers") from None
    if low > high:
        raise UsageError(f"--input {safe(value)}: {low} is above {high}")
    if found[1] == "ids":
        return random.integers(int(low), int(high), shape, endpoint=True).astype(kind)
    return random.uniform(low, high, shape).astype(kind)


def _length(port: Port, axis: int, dims: dict[str, int]) -> int:
    dim = port.shape[axis]
    if isinstance(dim, int) and dim >= 0:
        return dim
    name = str(dim)
    if name in dims:
        return dims[name]
    if axis == 0:
        return 1
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    raise UsageError(
        f"the length of axis {axis} of input '{safe(port.name)}' is not fixed",
        hint=f"add --dim {safe(name, 60)}=LENGTH" if dim else "give a file",
    )


def _in_step(streams: Mapping[str, Iterator[Sample]]) -> Iterator[Sample]:
    """One sample from each stream at a time; streams of one value repeat it."""
    heads = {name: list(itertools.islice(stream, 2)) for name, stream in streams.items()}
    empty = [name for name, head in heads.items() if not head]
    if empty:
        raise BadInput(f"input '{safe(empty[0])}' got no value")
    moving = {
        name: itertools.chain(heads[name], streams[name])
        for name in streams
        if len(heads[name]) > 1
    }
    still: Feeds = {}
    for head in heads.values():
        if len(head) == 1:
            still |= head[0].feeds
    if not moving:
        yield Sample(next(iter(heads.values()))[0].name, _ordered(streams, still))
        return
    while True:
        taken = {name: next(stream, None) for name, stream in moving.items()}
        if all(sample is None for sample in taken.values()):
            return
        short = [name for name, sample in taken.items() if sample is None]
        if short:
            raise BadInput(f"input '{safe(short[0])}' has fewer values than the others")
        feeds = dict(still)
        names = [sample.name for sample in taken.values() if sample is not None]
        for sample in taken.values():
            feeds |= sample.feeds if sample is not None else {}
        yield Sample(names[0], _ordered(streams, feeds))


def _ordered(streams: Mapping[str, object], feeds: Feeds) -> Feeds:
    return {name: feeds[name] for name in streams}
