"""``--dtype``: weights in half precision where they are asked for, or where the source has them."""

import copy
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch

from modelkit.convert.export_torch import named_outputs
from modelkit.convert.source import Options, Route
from modelkit.model import Model

_LARGER = 1.05
_SHORT = {torch.float16: "float16", torch.bfloat16: "bfloat16"}


class Halved(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A module that computes in float16 between float32 inputs and outputs."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner).half()

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run on the inputs in their order; outputs in the order of the module's."""
        given = [value.half() if value.is_floating_point() else value for value in values]
        found = named_outputs(self.inner(*given)).values()
        return tuple(v.float() if v.is_floating_point() else v for v in found)


class Held(NamedTuple):
    """The weights of a source: ``short`` is the type of most of them where that is float16 or
    bfloat16, and "" for anything wider; ``bytes`` are those of all of them.
    """

    short: str
    bytes: int


def held_weights(tensors: Iterable[torch.Tensor]) -> Held:
    """What the tensors of a source amount to."""
    counts: Counter[torch.dtype] = Counter()
    size = 0
    for tensor in tensors:
        size += tensor.nbytes
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    short = _SHORT.get(counts.most_common(1)[0][0], "") if counts else ""
    return Held(short, size)


def half_wanted(options: Options, source: Held) -> bool:
    """Whether the result's weights are float16."""
    return options.dtype == "float16" or (options.dtype == "source" and source.short == "float16")


def notes_on(options: Options, source: Held) -> tuple[str, ...]:
    """What the user should know of the weights' type before there is a result."""
    if options.dtype == "source" and source.short == "bfloat16":
        return (
            "weights in the source are bfloat16, which ONNX Runtime does not compute on CPU:"
            " they are float32 in the result",
        )
    return ()


def with_remarks(routes: Iterable[Route], options: Options, source: Held) -> tuple[Route, ...]:
    """``routes`` that tell how much larger the result is where its weights are wider."""

    def remarks(model: Model) -> tuple[str, ...]:
        held = [value.const_value for value in model.graph.initializers.values()]
        size = sum(tensor.nbytes for tensor in held if tensor is not None)
        words = "source keeps them" if source.short == "float16" else "float16 halves it"
        factor = size / max(source.bytes, 1)
        if factor < _LARGER:
            return ()
        return (f"{factor:.1f}x larger: source weights were {source.short}; --dtype {words}",)

    wider = options.dtype == "float32" and source.short
    return tuple(replace(route, remarks=remarks) if wider else route for route in routes)
