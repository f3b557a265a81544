"""Choose levels by what a layer computes, not by its weights alone (GPTQ, arXiv 2210.17323).

The rows of a weight are rounded one after another, and the rows that are still exact take up the
error of each, as the second moments of the layer's inputs say they can.  Before that the weight is
moved to make up for what rounding earlier layers did to those inputs.  Blocks stay where they are,
so that the kernel needs no permutation.
"""

from dataclasses import dataclass

import numpy as np

from modelkit.quantize.blocks import Blocks, Rounded, fit, levels_of, nearest, split

_DAMPING = 0.01
_PANEL = 128  # rows whose corrections are gathered before the rest of the weight takes them up


@dataclass(frozen=True)
class Guided:
    """A rounding led by ``moments`` [K, K], the sum of x x^T over the layer's inputs.

    ``drift`` [K, K] is the sum of x (z - x)^T, where z is what x should have been.
    """

    moments: np.ndarray
    drift: np.ndarray | None = None

    def target(self, weight: np.ndarray) -> np.ndarray:
        """The float weight whose products come closest to those of ``weight`` with z."""
        if self.drift is None:
            return weight
        damped, _ = _damped(self.moments)
        moved = weight + np.linalg.solve(damped, self.drift @ weight.astype(np.float64))
        return np.asarray(moved, np.float32)

    def __call__(self, weight: np.ndarray, blocks: Blocks) -> Rounded:
        """The best of three: rows in their order, rows by importance, and the nearest levels.

        Which one is best depends on the layer, so each is tried and its error of the products
        measured.
        """
        weight = self.target(weight)
        damped, alive = _damped(self.moments)
        exact = weight.astype(np.float64) * alive[:, None]
        order = np.argsort(-np.diag(damped), kind="stable")
        tried = [
            nearest(weight, blocks),
            _in_order(exact, damped, blocks),
            _by_importance(exact, damped, order, blocks),
        ]
        errors = [self.error(weight, found.values(blocks, len(weight))) for found in tried]
        return tried[int(np.argmin(errors))]

    def error(self, weight: np.ndarray, other: np.ndarray) -> float:
        """The squared error of the products, summed over the inputs seen."""
        off = other.astype(np.float64) - weight
        return float(np.einsum("kn,kn->", off, self.moments @ off))

    def signal(self, weight: np.ndarray) -> float:
        """The squared products themselves."""
        return self.error(weight, np.zeros_like(weight))


def _damped(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments that can be inverted, and which inputs are ever other than zero."""
    found = moments.astype(np.float64)
    diagonal = np.diag(found)
    alive = diagonal > 0
    mean = float(diagonal[alive].mean()) if alive.any() else 1.0
    found[np.diag_indices_from(found)] = np.where(alive, diagonal, mean) + _DAMPING * mean
    return found, alive


def _upper(moments: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse: row k is how later rows make up for row k."""
    inverse = np.linalg.inv(moments)
    return np.ascontiguousarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)


def _in_order(weight: np.ndarray, moments: np.ndarray, blocks: Blocks) -> Rounded:
    """Rows from first to last; each block's scale fits the rows as corrected so far."""
    upper = _upper(moments)
    rest = weight.copy()
    rows, columns = weight.shape
    scales = np.ones((columns, blocks.count(rows)), np.float32)
    zeros = np.full(scales.shape, blocks.middle, np.uint8)
    levels = np.full((columns, scales.shape[1] * blocks.size), blocks.middle, np.uint8)
    weigh = 1 / np.diag(upper) ** 2
    panel = max(_PANEL, blocks.size)
    for start in range(0, rows, panel):
        stop = min(start + panel, rows)
        errors = np.zeros((stop - start, columns))
        for row in range(start, stop):
            block = row // blocks.size
            if row % blocks.size == 0:
                end = min(row + blocks.size, rows)
                piece = split(rest[row:end], blocks)
                importance = np.zeros(blocks.size)
                importance[: end - row] = weigh[row:end] / weigh[row:end].max()
                scale, zero = fit(piece, blocks, importance)
                scales[:, block], zeros[:, block] = scale[:, 0], zero[:, 0]
            levels[:, row], errors[row - start] = _round_row(
                rest[row], scales[:, block], zeros[:, block], upper[row, row], blocks
            )
            rest[row + 1 : stop] -= np.outer(upper[row, row + 1 : stop], errors[row - start])
        rest[stop:] -= upper[start:stop, stop:].T @ errors
    return _rounded(levels, scales, zeros, blocks)


def _by_importance(
    weight: np.ndarray, moments: np.ndarray, order: np.ndarray, blocks: Blocks
) -> Rounded:
    """Rows with the largest inputs first; the scales are found before any row is corrected."""
    rows, columns = weight.shape
    upper = _upper(moments[np.ix_(order, order)])
    importance = np.zeros(blocks.count(rows) * blocks.size)
    importance[order] = 1 / np.diag(upper) ** 2
    importance /= importance.max()
    pieces = split(weight.astype(np.float32), blocks)
    scales, zeros = fit(pieces, blocks, importance.reshape(pieces.shape[1:]))
    levels = np.full((columns, scales.shape[1] * blocks.size), blocks.middle, np.uint8)
    levels[:, rows:] = np.repeat(zeros, blocks.size, 1)[:, rows:]
    rest = weight[order]
    for start in range(0, rows, _PANEL):
        stop = min(start + _PANEL, rows)
        errors = np.zeros((stop - start, columns))
        for row in range(start, stop):
            where = order[row]
            block = where // blocks.size
            levels[:, where], errors[row - start] = _round_row(
                rest[row], scales[:, block], zeros[:, block], upper[row, row], blocks
            )
            rest[row + 1 : stop] -= np.outer(upper[row, row + 1 : stop], errors[row - start])
        rest[stop:] -= upper[start:stop, stop:].T @ errors
    return _rounded(levels, scales, zeros, blocks)


def _round_row(
    row: np.ndarray, scale: np.ndarray, zero: np.ndarray, pivot: float, blocks: Blocks
) -> tuple[np.ndarray, np.ndarray]:
    """The levels of one row, and the error that the rows behind it make up for."""
    found = levels_of(row[:, None], scale, zero, blocks)[:, 0]
    value = (found.astype(np.float64) - zero) * scale
    return found, (row - value) / pivot


def _rounded(levels: np.ndarray, scales: np.ndarray, zeros: np.ndarray, blocks: Blocks) -> Rounded:
    shaped = levels.reshape(len(levels), -1, blocks.size)
    return Rounded(shaped, scales, None if blocks.symmetric else zeros)
