"""How far one array is from another: pure functions of two arrays of one shape."""

import numpy as np

_NEIGHBOURS = 10
FEWEST_ROWS = 20
"""Rows below which the overlap of ten neighbours says nothing."""


def relative(reference: np.ndarray, result: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute reference value; 0 when empty."""
    if reference.size == 0:
        return 0.0
    largest = float(np.abs(_wide(reference)).max())
    return max_abs(reference, result) / max(largest, 1e-12)


def max_abs(reference: np.ndarray, result: np.ndarray) -> float:
    """Largest absolute difference; 0 when empty."""
    if reference.size == 0:
        return 0.0
    return float(np.abs(_wide(reference) - _wide(result)).max())


def sqnr(signal: float, noise: float) -> float:
    """Signal-to-quantization-noise ratio in dB of two sums of squares; inf without noise."""
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(max(signal, 1e-300) / noise))


def energies(reference: np.ndarray, result: np.ndarray) -> tuple[float, float]:
    """Sum of squares of the reference and of the difference."""
    wide = _wide(reference)
    return float(np.square(wide).sum()), float(np.square(wide - _wide(result)).sum())


def cosine(reference: np.ndarray, result: np.ndarray) -> float:
    """Mean cosine of the last axis's vectors; rows of zeros count as equal when both are."""
    a, b = _rows(reference), _rows(result)
    if a.size == 0:
        return 1.0
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dots = (a * b).sum(axis=1)
    both_zero = np.all(a == b, axis=1)
    return float(np.where(both_zero, 1.0, dots / np.maximum(lengths, 1e-300)).mean())


def agreement(reference: np.ndarray, result: np.ndarray) -> float:
    """Fraction of equal elements; 1 when empty."""
    return float(np.mean(reference == result)) if reference.size else 1.0


def top1_agreement(reference: np.ndarray, result: np.ndarray) -> float:
    """Fraction of rows whose largest element stands in the same place."""
    a, b = _rows(reference), _rows(result)
    return float((a.argmax(axis=1) == b.argmax(axis=1)).mean()) if a.size else 1.0


def top10_overlap(reference: np.ndarray, result: np.ndarray) -> float:
    """Mean overlap of each row's ten nearest other rows by cosine; rows [n >= 20, d]."""
    near_a, near_b = _nearest(reference), _nearest(result)
    shared = [len(set(a) & set(b)) for a, b in zip(near_a, near_b, strict=True)]
    return float(np.mean(shared)) / _NEIGHBOURS


def _nearest(rows: np.ndarray) -> np.ndarray:
    unit = _wide(rows) / np.maximum(np.linalg.norm(_wide(rows), axis=1, keepdims=True), 1e-300)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :_NEIGHBOURS]


def _rows(array: np.ndarray) -> np.ndarray:
    wide = _wide(array)
    return wide.reshape(-1, wide.shape[-1]) if wide.ndim else wide.reshape(1, 1)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)
