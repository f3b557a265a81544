"""Networks of 3x3 convolutions: a classifier, a segmentation and an enlargement of pictures."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.optimizer.recipes import Input, Recipe, perturbed


def _layer(into: int, out: int) -> nn.Sequential:
    conv = nn.Conv2d(into, out, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def vgg16(full: bool) -> torch.nn.Module:
    """VGG-16 with batch normalization (Simonyan and Zisserman, 2015), pooled before its head."""
    layers: list[nn.Module] = []
    into = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers.append(_layer(into, width))
            into = width
        layers.append(nn.MaxPool2d(2))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return perturbed(nn.Sequential(*layers, *head))


class UNet(nn.Module):  # type: ignore[misc]
    """Ronneberger et al. (2015), with padding; four scales of 64 to 512 channels."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_layer(a, b), _layer(b, b)) for a, b in ((3, widths[0]), *pairs)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in reversed(pairs))
        self.join = nn.ModuleList(
            nn.Sequential(_layer(2 * a, a), _layer(a, a)) for a, _ in reversed(pairs)
        )
        self.last = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        for place, layers in enumerate(self.down):
            x = layers(x if place == 0 else functional.max_pool2d(x, 2))
            kept.append(x)
        for up, join, beside in zip(self.up, self.join, reversed(kept[:-1]), strict=True):
            x = join(torch.cat((beside, up(x)), 1))
        return self.last(x)


class _Residual(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * self.second(functional.relu(self.first(x)))


def enlarger(full: bool) -> torch.nn.Module:
    """EDSR (Lim et al., 2017) twice as large, 16 or 4 blocks of 64 channels."""
    blocks = (_Residual(64) for _ in range(16 if full else 4))
    last = (nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))
    return perturbed(nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), *blocks, *last))


def unet(full: bool) -> torch.nn.Module:
    """The U-Net, its biases and statistics moved away from 0 and 1."""
    return perturbed(UNet())


def _picture(name: str, build: object, side: int, output: str) -> Recipe:
    port = Input("images", ("batch", 3, side, side))
    return Recipe(name, build, (port,), (output,), ({"batch": 1}, {"batch": 3}))  # type: ignore[arg-type]


RECIPES = (
    _picture("vgg16", vgg16, 224, "logits"),
    _picture("unet", unet, 128, "masks"),
    Recipe(
        "unet_open",
        unet,
        (Input("images", ("batch", 3, "height", "width")),),
        ("masks",),
        ({"batch": 1, "height": 224, "width": 224}, {"batch": 3, "height": 72, "width": 120}),
    ),
    _picture("enlarger", enlarger, 96, "larger"),
)
