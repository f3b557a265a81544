"""A residual network whose channels are gated by linear layers."""

import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.optimizer.recipes import Input, Recipe, perturbed


class _Gate(nn.Module):  # type: ignore[misc]
    """Squeeze-and-excitation as it is usually written: linear layers, and ``expand_as``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeeze = nn.Linear(width, width // 16, bias=False)
        excite = nn.Linear(width // 16, width, bias=False)
        self.layers = nn.Sequential(squeeze, nn.ReLU(), excite, nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, width, _, _ = x.size()
        mean = functional.adaptive_avg_pool2d(x, 1).view(count, width)
        return x * self.layers(mean).view(count, width, 1, 1).expand_as(x)


class _Bottleneck(nn.Module):  # type: ignore[misc]
    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        width = out // 4
        parts: list[nn.Module] = []
        for a, b, kernel, step in ((into, width, 1, 1), (width, width, 3, stride)):
            conv = nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False)
            parts += [conv, nn.BatchNorm2d(b), nn.ReLU()]
        widened = nn.Conv2d(width, out, 1, bias=False)
        self.layers = nn.Sequential(*parts, widened, nn.BatchNorm2d(out), _Gate(out))
        beside = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.beside = nn.Identity() if into == out else beside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.layers(x) + self.beside(x))


def senet(full: bool) -> torch.nn.Module:
    """SE-ResNet (Hu et al., 2018), 50 layers deep at full size and 26 else."""
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    into = 64
    for width, depth in zip(
        (256, 512, 1024, 2048), (3, 4, 6, 3) if full else (2,) * 4, strict=True
    ):
        for place in range(depth):
            layers.append(_Bottleneck(into, width, 1 if place or into == 64 else 2))
            into = width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 1000))
    return perturbed(nn.Sequential(*layers, *head))


_PICTURE = Input("pixel_values", ("batch", 3, 224, 224))
RECIPES = (Recipe("senet", senet, (_PICTURE,), ("logits",), ({"batch": 1}, {"batch": 3})),)
