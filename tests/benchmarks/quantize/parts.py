"""What a subject consists of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Parts:
    """A module, or a folder to ``convert``, and its data.

    ``ragged``: the second axis of the inputs is dynamic too; ``score``: of the float model in the
    framework.
    """

    module: nn.Module | None
    calibration: list[Feeds]
    evaluation: list[Feeds]
    speed: Feeds
    labels: np.ndarray | None = None
    ragged: bool = False
    convert: Path | None = None
    score: float | None = None
