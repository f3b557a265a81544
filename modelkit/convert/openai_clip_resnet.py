"""The ResNet image tower of OpenAI's CLIP, rebuilt from the names and shapes of its weights.

The architecture is that of "Learning Transferable Visual Models From Natural Language Supervision"
(Radford et al., 2021), section 2.4: a stem of three convolutions, strides taken by average pooling
before the convolution, and attention of the mean over all places instead of a last pooling.
"""

import math
from collections.abc import Mapping

import torch

_HEAD_WIDTH = 64
_REDUCTION = 32
_EXPANSION = 4
_STAGES = 4


def image_size(weights: Mapping[str, torch.Tensor]) -> int:
    """The side of the square images whose places the tower has positions for."""
    places = len(weights["attnpool.positional_embedding"]) - 1
    return math.isqrt(places) * _REDUCTION


class ResNet(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Images [batch, 3, size, size] to [batch, features]."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        width = len(weights["conv3.weight"])
        half = len(weights["conv1.weight"])
        sizes = ((3, half, 2), (half, half, 1), (half, width, 1))
        for number, (taken, given, stride) in enumerate(sizes, 1):
            conv = torch.nn.Conv2d(taken, given, 3, stride, padding=1, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", torch.nn.BatchNorm2d(given))
        taken = width
        for stage in range(1, _STAGES + 1):
            inner = width << (stage - 1)
            blocks = []
            for place in range(_blocks(weights, stage)):
                stride = 2 if place == 0 and stage > 1 else 1
                blocks.append(_Bottleneck(taken, inner, stride))
                taken = inner * _EXPANSION
            self.add_module(f"layer{stage}", torch.nn.Sequential(*blocks))
        self.attnpool = _AttentionPool(weights, taken)

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor]:
        """The features of each image."""
        x = pixel_values
        for number in (1, 2, 3):
            x = torch.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        x = torch.nn.functional.avg_pool2d(x, 2)
        for stage in range(1, _STAGES + 1):
            x = getattr(self, f"layer{stage}")(x)
        return (self.attnpool(x),)


def _blocks(weights: Mapping[str, torch.Tensor], stage: int) -> int:
    start = f"layer{stage}."
    return len({name.split(".")[1] for name in weights if name.startswith(start)})


class _Bottleneck(torch.nn.Module):  # type: ignore[misc]
    """Three convolutions beside the input; a stride is an average before the last of them."""

    def __init__(self, taken: int, inner: int, stride: int) -> None:
        super().__init__()
        given = inner * _EXPANSION
        self.conv1 = torch.nn.Conv2d(taken, inner, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(inner)
        self.conv2 = torch.nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(inner)
        self.conv3 = torch.nn.Conv2d(inner, given, 1, bias=False)
        self.bn3 = torch.nn.BatchNorm2d(given)
        self.stride = stride
        self.downsample = None
        if stride > 1 or taken != given:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(taken, given, 1, bias=False), torch.nn.BatchNorm2d(given)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, taken, h, w] to [batch, given, h / stride, w / stride]."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self._smaller(out)))
        beside = x if self.downsample is None else self.downsample(self._smaller(x))
        found: torch.Tensor = torch.relu(out + beside)
        return found

    def _smaller(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.stride == 1 else torch.nn.functional.avg_pool2d(x, self.stride)


class _AttentionPool(torch.nn.Module):  # type: ignore[misc]
    """What the mean of all places attends to among them."""

    def __init__(self, weights: Mapping[str, torch.Tensor], width: int) -> None:
        super().__init__()
        positions = weights["attnpool.positional_embedding"]
        self.positional_embedding = torch.nn.Parameter(torch.zeros_like(positions))
        self.heads = max(width // _HEAD_WIDTH, 1)
        for name in ("q_proj", "k_proj", "v_proj", "c_proj"):
            given = len(weights[f"attnpool.{name}.weight"])
            self.add_module(name, torch.nn.Linear(width, given))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, width, h, w] to [batch, features]."""
        places = x.flatten(2).transpose(1, 2)
        places = torch.cat([places.mean(1, keepdim=True), places], dim=1)
        places = places + self.positional_embedding
        query = self._split(self.q_proj(places[:, :1]))
        key, value = self._split(self.k_proj(places)), self._split(self.v_proj(places))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        found: torch.Tensor = self.c_proj(mixed.transpose(1, 2).flatten(1))
        return found

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, places, width] to [batch, heads, places, width / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
