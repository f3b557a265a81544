"""Networks known by their activations: PReLU in face recognition, Mish in YOLOv4."""

from typing import Any

import torch
from torch import nn

from tests.benchmarks.optimizer.recipes import Input, Recipe, perturbed

_FACE, _SCENE = 112, 256


class _Residual(nn.Module):  # type: ignore[misc]
    """The block of ArcFace's networks: normalization first, PReLU between the convolutions."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(into),
            nn.Conv2d(into, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        side = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.side = side if stride > 1 or into != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.path(x) + self.side(x)


def _face(full: bool) -> Any:
    """A residual network of 18 layers that gives 512 numbers for a face."""
    blocks: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.PReLU(64),
    ]
    into = 64
    for out in (64, 128, 256, 512):
        blocks += [_Residual(into, out, 2), _Residual(out, out, 1)]
        into = out
    side = _FACE // 16
    end = [nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * side * side, 512)]
    return perturbed(nn.Sequential(*blocks, *end))


class _Mish(nn.Sequential):  # type: ignore[misc]
    def __init__(self, into: int, out: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out), nn.Mish())


class _Stage(nn.Module):  # type: ignore[misc]
    """A stage of CSPDarknet: half of the channels pass residual blocks, half go around."""

    def __init__(self, into: int, out: int, depth: int) -> None:
        super().__init__()
        half = out // 2
        self.down = _Mish(into, out, 3, 2)
        self.around, self.start = _Mish(out, half, 1), _Mish(out, half, 1)
        self.steps = nn.ModuleList(
            nn.Sequential(_Mish(half, half, 1), _Mish(half, half, 3)) for _ in range(depth)
        )
        self.end, self.out = _Mish(half, half, 1), _Mish(out, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        inner = self.start(x)
        for step in self.steps:
            inner = inner + step(inner)
        return self.out(torch.cat((self.end(inner), self.around(x)), 1))


def _darknet(full: bool) -> Any:
    """The backbone of YOLOv4, less deep."""
    stages = [_Stage(into, 2 * into, depth) for into, depth in ((32, 1), (64, 2), (128, 2))]
    return perturbed(nn.Sequential(_Mish(3, 32, 3), *stages))


RECIPES = tuple(
    Recipe(
        name,
        make,
        (Input("images", ("batch", 3, side, side)),),
        ("found",),
        ({"batch": 1}, {"batch": 3}),
    )
    for name, make, side in (("face", _face, _FACE), ("darknet", _darknet, _SCENE))
)
