"""OpenAI's CLIP, rebuilt from the names and shapes of its weights.

The architecture is that of "Learning Transferable Visual Models From Natural Language Supervision"
(Radford et al., 2021): pre-norm blocks, QuickGELU, one learned class token for images, the
features of the last token of a text (its id is the largest).
"""

import math
from collections.abc import Mapping

import torch

from modelkit.convert.hf_folder import Part
from modelkit.convert.hf_parts import scale_of
from modelkit.convert.openai_clip_resnet import ResNet, image_size
from modelkit.errors import BadInput, UsageError
from modelkit.model import InputSpec
from modelkit.safe import safe

TASKS = ("textual", "visual")
_HEAD_WIDTH = 64
# Buffers that OpenAI's archives carry beside the weights.
_EXTRA = ("input_resolution", "context_length", "vocab_size")


def part_of(weights: Mapping[str, torch.Tensor], task: str | None) -> Part:
    """The tower that ``task`` names, with the weights in it.

    Raises:
        UsageError: no task, or another.
        BadInput: weights are missing or of other shapes.
    """
    if task not in TASKS:
        raise UsageError(
            "CLIP has two towers, which are exported one by one",
            hint="add --task textual, and then --task visual with another -o",
            code="task-missing",
        )
    kept = scale_of(weights["logit_scale"]) if "logit_scale" in weights else {}
    held = {n: w.float() for n, w in weights.items() if n not in _EXTRA}
    if task == "visual":
        own = {n.removeprefix("visual."): w for n, w in held.items() if n.startswith("visual.")}
        tower, size = _image_tower(own)
        shape = ("batch", 3, size, size)
        specs = (InputSpec("pixel_values", "float32", shape, "pixels", -2.0, 2.0),)
        return Part(_filled(tower, own), specs, ("image_embeds",), kept)
    own = {n: w for n, w in held.items() if not n.startswith("visual.") and n != "logit_scale"}
    length, words = len(own["positional_embedding"]), len(own["token_embedding.weight"])
    # A text fills the context: its end is the largest id, the rest is zero.
    specs = (InputSpec("input_ids", "int64", ("batch", length), "ids", 0.0, words - 1.0),)
    return Part(_filled(Textual(own), own), specs, ("text_embeds",), kept)


def _image_tower(weights: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, int]:
    """A vision transformer or a ResNet without its weights, and the side of its images."""
    try:
        if "attnpool.positional_embedding" in weights:
            return ResNet(weights), image_size(weights)
        side = math.isqrt(len(weights["positional_embedding"]) - 1)
        return Visual(weights), side * int(weights["conv1.weight"].shape[-1])
    except (KeyError, ValueError, IndexError, TypeError, RuntimeError) as error:
        raise BadInput(
            "the weights are not those of OpenAI's CLIP",
            cause=safe(f"{type(error).__name__}: {' '.join(str(error).split())}", 300),
            hint="add --model module:function that builds the module",
            code="weights-differ",
        ) from None


def _filled(tower: torch.nn.Module, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    try:
        tower.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise BadInput(
            "the weights are not those of OpenAI's CLIP",
            cause=" ".join(str(error).split())[:300],
            hint="add --model module:function that builds the module",
            code="weights-differ",
        ) from None
    return tower.eval()


class _Block(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = torch.nn.MultiheadAttention(width, max(width // _HEAD_WIDTH, 1))
        self.ln_1 = torch.nn.LayerNorm(width)
        self.mlp = torch.nn.ModuleDict(
            {"c_fc": torch.nn.Linear(width, width * 4), "c_proj": torch.nn.Linear(width * 4, width)}
        )
        self.ln_2 = torch.nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """[batch, length, width]; the heads are told apart by hand, as exporters like it."""
        x = x + self.attend(self.ln_1(x), mask)
        inner = self.mlp["c_fc"](self.ln_2(x))
        out: torch.Tensor = x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))
        return out

    def attend(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention with the weights of the MultiheadAttention that holds them."""
        batch, length, width = x.shape
        heads = self.attn.num_heads
        joined = torch.nn.functional.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        query, key, value = (
            part.reshape(batch, length, heads, width // heads).transpose(1, 2)
            for part in joined.chunk(3, dim=-1)
        )
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
        found: torch.Tensor = self.attn.out_proj(
            mixed.transpose(1, 2).reshape(batch, length, width)
        )
        return found


class _Blocks(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, weights: Mapping[str, torch.Tensor], width: int) -> None:
        super().__init__()
        places = {
            int(name.split(".")[2])
            for name in weights
            if name.startswith("transformer.resblocks.") and name.split(".")[2].isdigit()
        }
        self.resblocks = torch.nn.ModuleList(_Block(width) for _ in places)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Through every block."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(torch.nn.Module):  # type: ignore[misc]
    """Images [batch, 3, size, size] to [batch, features]."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        width, _, patch, _ = weights["conv1.weight"].shape
        self.conv1 = torch.nn.Conv2d(3, width, patch, stride=patch, bias=False)
        for name in ("class_embedding", "positional_embedding", "proj"):
            self.register_parameter(name, torch.nn.Parameter(torch.zeros_like(weights[name])))
        self.ln_pre = torch.nn.LayerNorm(width)
        self.transformer = _Blocks(weights, width)
        self.ln_post = torch.nn.LayerNorm(width)

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor]:
        """The features of each image."""
        x = self.conv1(pixel_values).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([first, x], dim=1) + self.positional_embedding)
        return (self.ln_post(self.transformer(x, None)[:, 0]) @ self.proj,)


class Textual(torch.nn.Module):  # type: ignore[misc]
    """Token ids [batch, length] to [batch, features]."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        words, width = weights["token_embedding.weight"].shape
        self.token_embedding = torch.nn.Embedding(words, width)
        for name in ("positional_embedding", "text_projection"):
            self.register_parameter(name, torch.nn.Parameter(torch.zeros_like(weights[name])))
        self.transformer = _Blocks(weights, width)
        self.ln_final = torch.nn.LayerNorm(width)

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        """The features of each text, taken where its id is largest."""
        length = input_ids.shape[1]
        mask = torch.full((length, length), -math.inf).triu(1)
        x = self.token_embedding(input_ids) + self.positional_embedding
        x = self.ln_final(self.transformer(x, mask))
        last = x[torch.arange(x.shape[0]), input_ids.argmax(dim=-1)]
        return (last @ self.text_projection,)
