"""``--dtype``: weights in half precision where they are asked for, or where the source has them."""

import copy
from collections import Counter
from collections.abc import Iterable

import torch

from modelkit.convert.export_torch import named_outputs
from modelkit.convert.source import Options

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


def short_dtype(tensors: Iterable[torch.Tensor]) -> str:
    """The type of most weights where it is float16 or bfloat16; "" for anything wider."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    return _SHORT.get(counts.most_common(1)[0][0], "") if counts else ""


def half_wanted(options: Options, source: str) -> bool:
    """Whether the result's weights are float16; ``source`` as :func:`short_dtype` has it."""
    return options.dtype == "float16" or (options.dtype == "source" and source == "float16")


def notes_on(options: Options, source: str) -> tuple[str, ...]:
    """What the user should know of the weights' size and type."""
    if options.dtype == "float32" and source:
        words = "--dtype source keeps them" if source == "float16" else "--dtype float16 halves it"
        return (f"weights in the source are {source}, so the result is 2 times larger; {words}",)
    if options.dtype == "source" and source == "bfloat16":
        return (
            "weights in the source are bfloat16, which ONNX Runtime does not compute on CPU:"
            " they are float32 in the result",
        )
    return ()
