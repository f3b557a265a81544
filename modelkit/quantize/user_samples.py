"""Samples from the user's own Python code: ``--calib-data package.module:name``; runs that code.

The name holds a list of samples or anything else that can be read twice, or a function that gives
such a thing anew.  A sample is a dict of input names to arrays, or an array for the only input.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import UsageError
from modelkit.quantize.observe import Samples
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds
from modelkit.runtime.user_code import attribute_of, line_of, working_folder_first
from modelkit.safe import safe

_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_module(text: str) -> bool:
    """Whether ``text`` names something in a Python module and not a file."""
    return _NAMED.fullmatch(text) is not None and not Path(text).exists()


def user_samples(text: str, inputs: Sequence[Port], option: str) -> Samples:
    """What ``text`` names, as samples that start over; ``option`` is how it was typed.

    Raises:
        UsageError: no such module or name, or it cannot be read twice; while samples are read, if
            the code raises or one of them does not fit ``inputs``.
    """
    held = attribute_of(text, option)
    if not callable(held):
        if not isinstance(held, Iterable) or isinstance(held, str | bytes):
            raise UsageError(
                f"{safe(text)} holds no samples but {type(held).__name__}",
                hint="it is a list of dicts of input names to arrays, or a function that gives one",
            )
        if isinstance(held, Iterator):
            raise UsageError(
                f"{safe(text)} can be read only once, and calibration reads it several times",
                hint="name the function that makes it, or make a list of it",
            )

    def samples() -> Iterator[Feeds]:
        for number, item in enumerate(_items(text, held)):
            yield _feeds(item, inputs, f"sample {number + 1} of {safe(text)}")

    return samples


def _items(text: str, held: Callable[[], Iterable[Any]] | Iterable[Any]) -> Iterator[Any]:
    with working_folder_first():
        try:
            yield from held() if callable(held) else held
        except Exception as error:  # any code of the user's
            raise UsageError(
                f"{safe(text)} raised {type(error).__name__}",
                cause=f"{line_of(error)}: {safe(str(error), 300)}",
                hint="it is called without arguments and gives samples, one after the other",
            ) from None


def _feeds(item: Any, inputs: Sequence[Port], place: str) -> Feeds:
    names = [port.name for port in inputs]
    if not isinstance(item, Mapping):
        if len(inputs) != 1:
            raise UsageError(
                f"{place} is no dict, and the model has {len(inputs)} inputs",
                hint=f"give each by its name: {', '.join(safe(name, 60) for name in names)}",
            )
        item = {names[0]: item}
    missing = [name for name in names if name not in item]
    unknown = [name for name in item if name not in names]
    if missing or unknown:
        text = f"has nothing for input '{safe(missing[0])}'" if missing else "has a name too many"
        given = ", ".join(safe(str(name), 60) for name in item)
        raise UsageError(
            f"{place} {text}",
            cause=f"it has: {given}",
            hint=f"the model's inputs: {', '.join(safe(name, 60) for name in names)}",
        )
    return {port.name: _array(item[port.name], port) for port in inputs}


def _array(value: Any, port: Port) -> np.ndarray:
    """An array as it is; numbers in lists in the type that the input has."""
    typed = hasattr(value, "dtype") or port.dtype == "str"
    return np.asarray(value) if typed else np.asarray(value, port.dtype)
