"""Parts of Hugging Face models that are exported one by one, by their task.

The two towers of CLIP stand here; :mod:`modelkit.convert.hf_causal` and
:mod:`modelkit.convert.hf_seq2seq` have the rest.
"""

from collections.abc import Callable
from typing import Any

import torch

from modelkit.convert.hf_causal import with_past
from modelkit.convert.hf_folder import Load, Part, input_specs
from modelkit.convert.hf_seq2seq import decoder, decoder_first, decoder_with_past, encoder
from modelkit.model import LOGIT_SCALE


def scale_of(learned: torch.Tensor) -> dict[str, str]:
    """The metadata that keeps CLIP's factor of the cosine; it is learned as its logarithm."""
    return {LOGIT_SCALE: repr(float(learned.detach().float().exp()))}


class _Tower(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
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
    "decoder-first": decoder_first,
    "decoder-with-past": decoder_with_past,
    "textual": textual,
    "visual": visual,
}
"""Task to what makes it."""
