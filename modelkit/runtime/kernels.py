"""Which operators the installed ONNX Runtime has a kernel for."""

from collections.abc import Mapping
from functools import lru_cache

import onnxruntime.capi.onnxruntime_pybind11_state as native

from modelkit.runtime import session as session  # says in our words when the runtime is missing

_OPEN = 2**31 - 1

Key = tuple[str, str]
"""Domain ("" for ai.onnx) and operator."""


@lru_cache(maxsize=1)
def kernels() -> Mapping[Key, tuple[tuple[int, int], ...]]:
    """Operator to the ranges of opset versions with a kernel on any provider of this build."""
    found: dict[Key, list[tuple[int, int]]] = {}
    for kernel in native.get_all_opkernel_def():
        low, high = kernel.version_range
        found.setdefault((kernel.domain, kernel.op_name), []).append((low, high))
    return {key: tuple(ranges) for key, ranges in found.items()}


def has_kernel(domain: str, op: str, since: int) -> bool:
    """Whether a kernel takes the form of ``op`` that opset ``since`` introduced.

    As ONNX Runtime's kernel registry counts: a range without an end is the one form it begins with.
    """
    name = "" if domain == "ai.onnx" else domain
    ranges = kernels().get((name, op), ())
    return any(low == since or low <= since <= high < _OPEN for low, high in ranges)
