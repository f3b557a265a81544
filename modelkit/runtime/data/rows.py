"""Rows of one array as samples of their own.

``np.save("x.npy", x)`` of a thousand rows is what people calibrate on; as one sample it would be
run whole, leave nothing for the check, and count as one.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from modelkit.errors import ModelkitError
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds, Run

_TRIED = 4
_MOST = 512
_CLOSE = 1e-3


def separable(feeds: Feeds, inputs: Sequence[Port], run: Run) -> bool:
    """Whether the model gives each row of ``feeds`` what it gives it among others.

    The first axis of every input must be free and of one length; the first rows are then run alone
    and together, because a free first axis may also be time.
    """
    if any(not port.shape or isinstance(port.shape[0], int) for port in inputs):
        return False
    lengths = {_length(value) for value in feeds.values()}
    if len(lengths) != 1 or (count := lengths.pop()) < 2:
        return False
    count = min(count, _TRIED)
    try:
        together = run(_cut(feeds, 0, count))
        alone = [run(_cut(feeds, row, row + 1)) for row in range(count)]
    except ModelkitError:
        return False
    return all(_same(value, [each[name] for each in alone]) for name, value in together.items())


def in_rows(feeds: Feeds) -> Iterator[Feeds]:
    """``feeds`` row by row, in 512 pieces at most; whole if the lengths of its arrays differ."""
    lengths = {_length(value) for value in feeds.values()}
    if len(lengths) != 1:
        return iter([feeds])
    count = lengths.pop()
    width = -(-count // _MOST) or 1
    return (_cut(feeds, start, start + width) for start in range(0, count, width))


def _length(value: np.ndarray) -> int:
    return len(value) if isinstance(value, np.ndarray) and value.ndim else 0


def _cut(feeds: Feeds, start: int, stop: int) -> Feeds:
    return {name: value[start:stop] for name, value in feeds.items()}


def _same(together: np.ndarray, alone: Sequence[np.ndarray]) -> bool:
    if not isinstance(together, np.ndarray) or together.ndim == 0:
        return False
    if any(_length(value) != 1 for value in alone) or len(together) != len(alone):
        return False
    if any(value.shape[1:] != together.shape[1:] for value in alone):
        return False
    joined = np.concatenate(alone)
    if together.dtype.kind != "f":
        return bool(np.array_equal(joined, together))
    largest = float(np.abs(together).max(initial=0.0))
    return bool(np.allclose(joined, together, rtol=0, atol=_CLOSE * largest))
