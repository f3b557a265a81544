"""Modules of our own: what transformers has no configuration for."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.optimizer.recipes import VOCABULARY, Input, Recipe, perturbed

_SIDE = 320
_BINS = 16


class _Conv(nn.Sequential):  # type: ignore[misc]
    """Convolution, batch normalization, SiLU."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1) -> None:
        conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out), nn.SiLU())


class _Split(nn.Module):  # type: ignore[misc]
    """Half goes through bottlenecks, every stage of it is kept (YOLOv8's C2f)."""

    def __init__(self, into: int, out: int, depth: int, add: bool) -> None:
        super().__init__()
        self.half, self.add = out // 2, add
        self.first = _Conv(into, out)
        self.last = _Conv((2 + depth) * self.half, out)
        self.steps = nn.ModuleList(
            nn.Sequential(_Conv(self.half, self.half, 3), _Conv(self.half, self.half, 3))
            for _ in range(depth)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.first(x).split((self.half, self.half), 1))
        for step in self.steps:
            more = step(parts[-1])
            parts.append(parts[-1] + more if self.add else more)
        return self.last(torch.cat(parts, 1))


class _Pyramid(nn.Module):  # type: ignore[misc]
    """Three poolings in a row, all kept (YOLOv8's SPPF)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = _Conv(width, width // 2), _Conv(width * 2, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))


class Detector(nn.Module):  # type: ignore[misc]
    """A detector in the manner of YOLOv8n, boxes decoded, without non-maximum suppression."""

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(_Conv(3, 16, 3, 2), _Conv(16, 32, 3, 2), _Split(32, 32, 1, True))
        self.fine = nn.Sequential(_Conv(32, 64, 3, 2), _Split(64, 64, 2, True))
        self.middle = nn.Sequential(_Conv(64, 128, 3, 2), _Split(128, 128, 2, True))
        self.coarse = nn.Sequential(_Conv(128, 256, 3, 2), _Split(256, 256, 1, True), _Pyramid(256))
        self.up_middle, self.up_fine = _Split(384, 128, 1, False), _Split(192, 64, 1, False)
        self.down_fine, self.down_middle = _Conv(64, 64, 3, 2), _Conv(128, 128, 3, 2)
        self.out_middle, self.out_coarse = _Split(192, 128, 1, False), _Split(384, 256, 1, False)
        widths = (64, 128, 256)
        self.boxes = nn.ModuleList(self._head(width, 64, 4 * _BINS) for width in widths)
        self.kinds = nn.ModuleList(self._head(width, 80, classes) for width in widths)
        self.register_buffer("bins", torch.arange(_BINS, dtype=torch.float32).view(1, _BINS, 1, 1))
        anchors, strides = self._grid()
        self.register_buffer("anchors", anchors)
        self.register_buffer("strides", strides)

    @staticmethod
    def _head(into: int, inner: int, out: int) -> nn.Sequential:
        return nn.Sequential(
            _Conv(into, inner, 3), _Conv(inner, inner, 3), nn.Conv2d(inner, out, 1)
        )

    @staticmethod
    def _grid() -> tuple[torch.Tensor, torch.Tensor]:
        points, strides = [], []
        for stride in (8, 16, 32):
            line = torch.arange(_SIDE // stride) + 0.5
            y, x = torch.meshgrid(line, line, indexing="ij")
            points.append(torch.stack((x, y)).flatten(1))
            strides.append(torch.full((1, points[-1].shape[1]), float(stride)))
        return torch.cat(points, 1).unsqueeze(0), torch.cat(strides, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(self.stem(x))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        up = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        up_middle = self.up_middle(torch.cat((up, middle), 1))
        up = functional.interpolate(up_middle, scale_factor=2.0, mode="nearest")
        low = self.up_fine(torch.cat((up, fine), 1))
        mid = self.out_middle(torch.cat((self.down_fine(low), up_middle), 1))
        high = self.out_coarse(torch.cat((self.down_middle(mid), coarse), 1))
        rows = [
            torch.cat((box(level), kind(level)), 1).flatten(2)
            for level, box, kind in zip((low, mid, high), self.boxes, self.kinds, strict=True)
        ]
        boxes, kinds = torch.cat(rows, 2).split((4 * _BINS, self.classes), 1)
        spread = boxes.view(boxes.shape[0], 4, _BINS, -1).transpose(1, 2).softmax(1)
        near, far = (spread * self.bins).sum(1).chunk(2, 1)
        start, end = self.anchors - near, self.anchors + far
        box = torch.cat(((start + end) / 2, end - start), 1) * self.strides
        return torch.cat((box, kinds.sigmoid()), 1)


class Tagger(nn.Module):  # type: ignore[misc]
    """A two-layer LSTM in both directions over embedded words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 256)
        self.lstm = nn.LSTM(256, 256, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(512, 32)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(self.words(ids))[0])


def yolo(full: bool) -> Any:
    """The detector with random weights."""
    return perturbed(Detector())


def lstm(full: bool) -> Any:
    """The tagger with random weights."""
    return perturbed(Tagger())


RECIPES = (
    Recipe(
        "yolo",
        yolo,
        (Input("images", ("batch", 3, _SIDE, _SIDE)),),
        ("found",),
        ({"batch": 1}, {"batch": 3}),
    ),
    Recipe(
        "lstm",
        lstm,
        (Input("ids", ("batch", "tokens"), high=VOCABULARY),),
        ("tags",),
        ({"batch": 1, "tokens": 64}, {"batch": 3, "tokens": 5}),
    ),
)
