"""The networks of the trained subjects."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn


class Pair(nn.Module):  # type: ignore[misc]
    """x + conv(relu(norm(conv(x)))): two convolutions whose channels may be scaled freely."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.two = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum."""
        return x + self.last(self.two(torch.relu(self.norm(self.one(x)))))


class Inverted(nn.Module):  # type: ignore[misc]
    """A block of MobileNetV2: widen, depthwise, narrow."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.body = nn.Sequential(
            *(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            *(nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.same = stride == 1 and width == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With a shortcut where the shape stays."""
        y = self.body(x)
        return x + y if self.same else y


class Cnn(nn.Module):  # type: ignore[misc]
    """A stem, two residual pairs, four inverted residuals: 17 convolutions, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()
        )
        self.first, self.second = Pair(32), Pair(32)
        self.rest = nn.Sequential(
            Inverted(32, 48, 2), Inverted(48, 48, 1), Inverted(48, 64, 2), Inverted(64, 64, 1)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of ten classes."""
        x = self.rest(torch.relu(self.second(torch.relu(self.first(self.stem(x))))))
        return self.head(x.mean((2, 3)))


class Layer(nn.Module):  # type: ignore[misc]
    """A layer of a transformer, normalized in front."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attention, then the two linear layers, each added."""
        n, tokens, width = x.shape
        split = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):  # type: ignore[misc]
    """Patches of 4 x 4 become 64 tokens of width 64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.layers = nn.ModuleList(Layer(width, 4) for _ in range(4))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of ten classes."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


class Recurrent(nn.Module):  # type: ignore[misc]
    """Two bidirectional layers, 64 wide, over 32 rows of 32 grey values."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.cells = kind(32, 64, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of ten classes."""
        return self.head(self.cells(x.squeeze(1))[0].mean(1))


class Mlp(nn.Module):  # type: ignore[misc]
    """x * a + b, then linear layers: the standardization is part of the model."""

    def __init__(self, rows: np.ndarray, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        spread = rows.std(0)
        deviation = np.where(spread > 0, spread, 1).astype(np.float32)
        self.register_buffer("a", torch.from_numpy(1 / deviation))
        self.register_buffer("b", torch.from_numpy((-rows.mean(0) / deviation).astype(np.float32)))
        sizes = (rows.shape[1], *widths)
        layers: list[nn.Module] = []
        for size, wide in pairwise(sizes):
            layers += [nn.Linear(size, wide), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the classes."""
        return self.body(x * self.a + self.b)
