"""A network of several branches a layer, as it is trained, not yet merged."""

import torch
from torch import nn

from tests.benchmarks.optimizer.recipes import Input, Recipe, perturbed


class _Layer(nn.Module):  # type: ignore[misc]
    """MobileOne's layer (Vasu et al., 2023): equal kernels, one of a pixel, and the map itself."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, group: int, count: int):
        super().__init__()

        def conv(size: int) -> nn.Module:
            laid = nn.Conv2d(into, out, size, stride, size // 2, groups=group, bias=False)
            return nn.Sequential(laid, nn.BatchNorm2d(out))

        branches = [conv(kernel) for _ in range(count)]
        branches += [conv(1)] if kernel > 1 else []
        branches += [nn.BatchNorm2d(into)] if into == out and stride == 1 else []
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(sum(branch(x) for branch in self.branches))


def mobileone(full: bool) -> torch.nn.Module:
    """MobileOne-S0: depthwise and pointwise layers of up to four equal branches."""
    layers: list[nn.Module] = [_Layer(3, 48, 3, 2, 1, 1)]
    into = 48
    for width, depth in ((48, 2), (128, 8), (256, 10), (1024, 1)):
        for place in range(depth if full else min(depth, 3)):
            layers.append(_Layer(into, into, 3, 1 if place else 2, into, 4))
            layers.append(_Layer(into, width, 1, 1, 1, 4))
            into = width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 1000))
    return perturbed(nn.Sequential(*layers, *head))


_PICTURE = Input("pixel_values", ("batch", 3, 224, 224))
RECIPES = (Recipe("mobileone", mobileone, (_PICTURE,), ("logits",), ({"batch": 1}, {"batch": 3})),)
