"""Parts of Hugging Face models that are exported one by one.

Encoder and decoder of a sequence-to-sequence model, a causal model with its cache, the two towers
of CLIP.  Names of inputs, outputs and axes are those the ecosystem uses (past_key_values.0.key,
present.0.key, text_embeds).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import DynamicCache

from modelkit.convert.hf_folder import input_specs
from modelkit.errors import BadInput, Unsupported
from modelkit.model import LOGIT_SCALE, InputSpec
from modelkit.safe import safe

Load = Callable[[str], torch.nn.Module]
"""Loads a folder by a class of transformers."""

# Lengths to compare a model with a cache on.
_LENGTHS = (
    {"batch": 1, "sequence": 7, "past_sequence": 5, "total_sequence": 12},
    {"batch": 3, "sequence": 4, "past_sequence": 2, "total_sequence": 6},
)


class Part(NamedTuple):
    """A module that takes tensors in the order of ``specs`` and gives a tuple of ``outputs``.

    ``metadata`` is kept in the result.
    """

    module: torch.nn.Module
    specs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str] = {}


def scale_of(learned: torch.Tensor) -> dict[str, str]:
    """The metadata that keeps CLIP's factor of the cosine; it is learned as its logarithm."""
    return {LOGIT_SCALE: repr(float(learned.detach().float().exp()))}


class _Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, inner: Any, masked: bool) -> None:
        super().__init__()
        self.encoder = inner.get_encoder()
        self.masked = masked

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids or features, and a mask where there is one."""
        words = {"attention_mask": values[1]} if self.masked else {}
        return (self.encoder(values[0], return_dict=True, **words).last_hidden_state,)


class _Decoder(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, inner: Any, masked: bool) -> None:
        super().__init__()
        self.inner = inner
        self.masked = masked

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids, what the encoder gave, and its mask where there is one."""
        words = {"attention_mask": values[2]} if self.masked else {}
        found = self.inner(
            decoder_input_ids=values[0],
            encoder_outputs=(values[1],),
            use_cache=False,
            return_dict=True,
            **words,
        )
        return (found.logits,)


class _Cached(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids, mask over past and present, positions, then keys and values of each layer."""
        ids, mask, positions, *past = values
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.inner(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
        )
        present = [
            tensor
            for layer in found.past_key_values.layers
            for tensor in (layer.keys, layer.values)
        ]
        return (found.logits, *present)


class _Tower(torch.nn.Module):  # type: ignore[misc]
    def __init__(
        self, tower: torch.nn.Module, projection: torch.nn.Module, names: list[str]
    ) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection
        self.names = names

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The projected summary of a text or image."""
        words = dict(zip(self.names, values, strict=True))
        return (self.projection(self.tower(return_dict=True, **words).pooler_output),)


def encoder(load: Load, config: dict[str, Any]) -> Part:
    """The encoder of a sequence-to-sequence model."""
    inner = load(_seq2seq(config))
    names = _encoder_inputs(inner)
    return Part(_Encoder(inner, len(names) > 1), input_specs(names, config), ("last_hidden_state",))


def decoder(load: Load, config: dict[str, Any]) -> Part:
    """The decoder of a sequence-to-sequence model, without a cache."""
    inner = load(_seq2seq(config))
    masked = len(_encoder_inputs(inner)) > 1
    width = config.get("d_model") or config.get("hidden_size")
    if not isinstance(width, int):
        raise BadInput("config.json has no d_model")
    ids = input_specs(["input_ids"], config)[0]
    found = [ids, _floats("encoder_hidden_states", ("batch", "encoder_sequence", width))]
    if masked:
        shape = ("batch", "encoder_sequence")
        found.append(InputSpec("encoder_attention_mask", "int64", shape, "mask", 0.0, 1.0))
    return Part(_Decoder(inner, masked), tuple(found), ("logits",))


def with_past(load: Load, config: dict[str, Any]) -> Part:
    """A causal language model that takes and gives the keys and values of its layers.

    Raises:
        Unsupported: it keeps something else than one cache of full length a layer.
    """
    inner = load("AutoModelForCausalLM")
    own = inner.config
    if getattr(own, "sliding_window", None) and getattr(own, "use_sliding_window", True):
        raise Unsupported(
            "a cache with a sliding window has no route to ONNX yet",
            hint="--task text-generation exports it without a cache",
        )
    layers, heads = int(own.num_hidden_layers), int(own.num_attention_heads)
    kept = int(getattr(own, "num_key_value_heads", None) or heads)
    width = int(getattr(own, "head_dim", None) or own.hidden_size // heads)
    ids = input_specs(["input_ids"], config)[0]
    text = ("batch", "sequence")
    specs = [
        ids,
        InputSpec("attention_mask", "int64", ("batch", "total_sequence"), "mask", 0.0, 1.0),
        InputSpec("position_ids", "int64", text, "positions", 0.0, None),
    ]
    outputs = ["logits"]
    for layer in range(layers):
        for kind in ("key", "value"):
            shape = ("batch", kept, "past_sequence", width)
            name = f"past_key_values.{layer}.{kind}"
            specs.append(InputSpec(name, "float32", shape, "past"))
            outputs.append(f"present.{layer}.{kind}")
    return Part(_Cached(inner), tuple(map(_consistent, specs)), tuple(outputs))


def _consistent(spec: InputSpec) -> InputSpec:
    """With lengths that go together: the mask covers past and present, and no more."""
    return replace(
        spec,
        samples=tuple(
            tuple(dim if isinstance(dim, int) else lengths[dim] for dim in spec.shape)
            for lengths in _LENGTHS
        ),
    )


def textual(load: Load, config: dict[str, Any]) -> Part:
    """The text tower of CLIP with its projection."""
    inner: Any = load("CLIPModel")
    return text_tower(inner)


def visual(load: Load, config: dict[str, Any]) -> Part:
    """The image tower of CLIP with its projection."""
    inner: Any = load("CLIPModel")
    return image_tower(inner)


def text_tower(inner: Any) -> Part:
    """The text tower of a loaded CLIP model."""
    own = inner.config.text_config
    names = ["input_ids", "attention_mask"]
    specs = input_specs(names, {"vocab_size": own.vocab_size, "pad_token_id": 0})
    tower = _Tower(inner.text_model, inner.text_projection, names)
    return Part(tower, specs, ("text_embeds",), scale_of(inner.logit_scale))


def image_tower(inner: Any) -> Part:
    """The image tower of a loaded CLIP model."""
    own = inner.config.vision_config
    names = ["pixel_values"]
    specs = input_specs(names, {"image_size": own.image_size, "num_channels": own.num_channels})
    tower = _Tower(inner.vision_model, inner.visual_projection, names)
    return Part(tower, specs, ("image_embeds",), scale_of(inner.logit_scale))


PARTS: dict[str, Callable[[Load, dict[str, Any]], Part]] = {
    "text-generation-with-past": with_past,
    "encoder": encoder,
    "decoder": decoder,
    "textual": textual,
    "visual": visual,
}
"""Task to what makes it."""


def _seq2seq(config: dict[str, Any]) -> str:
    if "Speech" in str(config.get("architectures")) or config.get("model_type") == "whisper":
        return "AutoModelForSpeechSeq2Seq"
    return "AutoModelForSeq2SeqLM"


def _encoder_inputs(inner: Any) -> list[str]:
    """Ids with a mask, or features of sound of one length."""
    main = inner.get_encoder().main_input_name
    if main == "input_ids":
        return ["input_ids", "attention_mask"]
    if main == "input_features":
        return ["input_features"]
    raise Unsupported(
        f"the encoder of {type(inner).__name__} takes {safe(str(main), 60)},"
        " which has no route to ONNX yet"
    )


def _floats(name: str, shape: tuple[int | str, ...]) -> InputSpec:
    return InputSpec(name, "float32", shape, "float")
