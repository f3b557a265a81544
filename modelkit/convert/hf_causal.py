"""Causal language models that take and give the keys and values of their layers.

Every layer keeps its whole past, also those that look through a window: the window is in the
mask, so what lies before it changes nothing, and callers treat all layers alike.  Names of inputs,
outputs and axes are those the ecosystem uses (past_key_values.0.key, present.0.key).
"""

from dataclasses import replace
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from modelkit.convert.hf_folder import Load, Part, input_specs
from modelkit.errors import Unsupported
from modelkit.model import InputSpec
from modelkit.safe import safe

# Lengths to compare a model with a cache on.
_LENGTHS = (
    {"batch": 1, "sequence": 7, "past_sequence": 5, "total_sequence": 12},
    {"batch": 3, "sequence": 4, "past_sequence": 2, "total_sequence": 6},
)
# Kinds of layers whose whole past is a key and a value for each token.
_KINDS = ("full_attention", "sliding_attention")


class _Cached(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids, mask over past and present, positions, then keys and values of each layer."""
        ids, mask, positions, *past = values
        found = self.inner(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=filled(past),
            use_cache=True,
            return_dict=True,
        )
        return (found.logits, *flat(found.past_key_values))


def filled(past: list[torch.Tensor]) -> DynamicCache:
    """A cache that holds a key and a value for each layer, in their order."""
    cache = DynamicCache()
    for layer in range(len(past) // 2):
        cache.update(past[2 * layer], past[2 * layer + 1], layer)
    return cache


def flat(cache: Any) -> list[torch.Tensor]:
    """Key and value of each layer of a cache, in order."""
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def with_past(load: Load, config: dict[str, Any]) -> Part:
    """A causal language model that takes and gives the keys and values of its layers.

    Raises:
        Unsupported: a layer keeps something else than a key and a value for each token.
    """
    inner: Any = load("AutoModelForCausalLM")
    own = inner.config
    kinds = set(getattr(own, "layer_types", None) or ())
    if not kinds <= set(_KINDS):
        raise _no_cache(", ".join(safe(str(kind), 40) for kind in sorted(kinds - set(_KINDS))))
    text = ("batch", "sequence")
    specs = [
        input_specs(["input_ids"], config)[0],
        InputSpec("attention_mask", "int64", ("batch", "total_sequence"), "mask", 0.0, 1.0),
        InputSpec("position_ids", "int64", text, "positions", 0.0, None),
    ]
    outputs = ["logits"]
    for number, (heads, width) in enumerate(_kept(inner)):
        layer, kind = divmod(number, 2)
        name = f"{layer}.{('key', 'value')[kind]}"
        shape = ("batch", heads, "past_sequence", width)
        specs.append(InputSpec(f"past_key_values.{name}", "float32", shape, "past"))
        outputs.append(f"present.{name}")
    window = getattr(own, "sliding_window", None) or 0
    return Part(_Cached(inner), _consistent(specs, int(window)), tuple(outputs))


def _kept(inner: Any) -> list[tuple[int, int]]:
    """Heads and width of the key and value of each layer, as the model itself keeps one token."""
    ids = torch.zeros((1, 1), dtype=torch.int64)
    try:
        with torch.no_grad():
            found = inner(
                input_ids=ids, past_key_values=DynamicCache(), use_cache=True, return_dict=True
            )
        tensors = flat(found.past_key_values)
        shapes = [tuple(tensor.shape) for tensor in tensors]
    except Exception as error:  # transformers raises any type on a cache that it does not know
        raise _no_cache(f"{type(error).__name__}: {safe(str(error), 200)}") from None
    if not shapes or any(len(shape) != 4 or shape[2] != 1 for shape in shapes):
        raise _no_cache(f"it keeps {shapes[:2]} for one token")
    return [(shape[1], shape[3]) for shape in shapes]


def _no_cache(cause: str) -> Unsupported:
    return Unsupported(
        "a cache of something else than a key and a value for each token has no route to ONNX yet",
        cause=cause,
        hint="--task text-generation exports it without a cache",
    )


def _consistent(specs: list[InputSpec], window: int) -> tuple[InputSpec, ...]:
    """With lengths that go together: the mask covers past and present, and no more.

    Where there is a window, one past is longer.
    """
    lengths = list(_LENGTHS)
    if window:
        now = lengths[0]["sequence"]
        lengths[0] = lengths[0] | {"past_sequence": window + 2, "total_sequence": window + 2 + now}
    return tuple(
        replace(
            spec,
            samples=tuple(
                tuple(dim if isinstance(dim, int) else each[dim] for dim in spec.shape)
                for each in lengths
            ),
        )
        for spec in specs
    )
