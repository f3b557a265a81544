"""Drawn pictures, for models that see nothing in noise.

On random pixels a trained detector's map is the last bits of zero, and agrees or not by chance.
Bars of all sizes on a light ground, as of lines of text and of panels, are found by it.
"""

from collections.abc import Sequence

import numpy as np

_CHANNELS = (1, 3, 4)
_BARS = 60
_GROUND, _MIDDLE, _SPREAD = 0.9, 0.5, 0.25
"""Lightness of the ground, and what normalizes lightness 0..1 as trained models expect."""


def is_picture(shape: Sequence[int | str]) -> bool:
    """Whether an input of this shape may be pictures: [N, C, H, W] or [N, H, W, C]."""
    return len(shape) == 4 and (shape[1] in _CHANNELS or shape[3] in _CHANNELS)


def draw(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Normalized pictures [N, C, H, W] or [N, H, W, C] as float32, each with bars of its own."""
    last = shape[1] not in _CHANNELS
    count, channels, height, width = (shape[i] for i in ((0, 3, 1, 2) if last else (0, 1, 2, 3)))
    drawn = np.full((count, channels, height, width), _GROUND, np.float32)
    for picture in drawn:
        for _ in range(_BARS):
            tall = int(random.integers(1, max(2, height // 16)))
            wide = int(random.integers(1, max(2, width // 4)))
            top, left = int(random.integers(0, height)), int(random.integers(0, width))
            shade = random.uniform(0, 0.6, (channels, 1, 1))
            picture[:, top : top + tall, left : left + wide] = shade
    drawn = (drawn - _MIDDLE) / _SPREAD
    return drawn.transpose(0, 2, 3, 1) if last else drawn
