"""Rows with labels: digits turned and shifted, flat digits, breast cancers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn import datasets, model_selection

_COPIES = 5
_TEST = 0.3


@dataclass(frozen=True)
class Rows:
    """A split; ``change`` makes another version of training rows in each epoch."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None

    def epoch(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The training rows of one epoch, in another order and another version each time."""
        order = random.permutation(len(self.train))
        rows = self.train[order]
        return (self.change(rows, random) if self.change else rows), self.train_labels[order]


def digits(side: int) -> Rows:
    """scikit-learn's digits as pictures [n, 1, side, side]; five versions of each in the test."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float32) / 16
    train, test, train_labels, test_labels = _split(images, labels)

    def change(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.stack([_warped(row, side, random) for row in rows])[:, None]

    random = np.random.default_rng(2)
    versions = [change(test, random) for _ in range(_COPIES)]
    return Rows(
        train, train_labels, np.concatenate(versions), np.tile(test_labels, _COPIES), change
    )


def flat_digits() -> Rows:
    """The same as 64 grey values from 0 to 16."""
    images, labels = datasets.load_digits(return_X_y=True)
    train, test, train_labels, test_labels = _split(images.astype(np.float32), labels)
    return Rows(train, train_labels, test, test_labels)


def cancer() -> Rows:
    """scikit-learn's breast cancers: 30 measurements of very different size."""
    rows, labels = datasets.load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = _split(rows.astype(np.float32), labels)
    return Rows(train, train_labels, test, test_labels)


def _split(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    found = model_selection.train_test_split(
        rows, labels.astype(np.int64), test_size=_TEST, random_state=0, stratify=labels
    )
    return tuple(np.ascontiguousarray(each) for each in found)


def _warped(image: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """Enlarged, turned by up to 12 degrees, scaled by a tenth, shifted, a little noise."""
    angle = np.deg2rad(random.uniform(-12, 12))
    scale = len(image) / side / random.uniform(0.9, 1.1)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (len(image) - 1) / 2
    offset = middle - turn @ (np.full(2, (side - 1) / 2) + random.uniform(-2, 2, 2))
    found = ndimage.affine_transform(image, turn, offset, (side, side), order=1)
    return np.asarray(found + random.normal(0, 0.03, (side, side)), np.float32)
