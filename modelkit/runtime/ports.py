"""Inputs and outputs as the runtime sees them, and whether a value fits one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelkit.errors import UsageError
from modelkit.safe import safe

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "str",
}


@dataclass(frozen=True)
class Port:
    """An input or output as the runtime sees it; a dynamic axis is its name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


def port(value: Any) -> Port:
    """Describe ONNX Runtime's node argument ``value``."""
    kind = str(value.type)
    inner = kind[kind.find("(") + 1 : kind.rfind(")")] if kind.startswith("tensor(") else kind
    shape = value.shape if isinstance(value.shape, list) else []
    return Port(value.name, _DTYPES.get(inner, inner), tuple(shape))


def check_value(port: Port, value: np.ndarray) -> None:
    """Refuse a value of another type or shape, with a UsageError."""
    name, kind = safe(port.name), _kind(value)
    if not isinstance(value, np.ndarray):
        return  # sequences and maps are checked by the runtime
    if kind != port.dtype:
        raise UsageError(
            f"input '{name}' is {port.dtype}, not {kind}",
            hint=f"save it as {port.dtype}",
        )
    fits = len(value.shape) == len(port.shape) and all(
        not isinstance(dim, int) or dim == length
        for dim, length in zip(port.shape, value.shape, strict=True)
    )
    if port.shape and not fits:
        raise UsageError(
            f"input '{name}' has shape {list(value.shape)}, the model wants {shown(port.shape)}"
        )


def _kind(value: np.ndarray) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return "str" if value.dtype.kind in "OUS" else value.dtype.name


def shown(shape: tuple[int | str | None, ...]) -> str:
    """A shape for people; unknown axes are "?"."""
    return "[" + ", ".join("?" if dim is None else safe(str(dim), 40) for dim in shape) + "]"
