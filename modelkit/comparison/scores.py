"""Task metrics of two models on the same rows, with labels or without.

``top1``, ``top5`` and ``mrr`` (mean reciprocal rank, Voorhees 1999) take rows of scores; ``f1`` is
the unweighted mean over classes; ``rmse`` takes numbers; ``module:function`` is the user's own
``function(outputs, labels) -> float``.  Without labels A's own answers stand for them, and the
figure of B is its agreement with A.
"""

import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modelkit.errors import BadInput, UsageError
from modelkit.model.files import regular_file
from modelkit.reports import Score
from modelkit.safe import safe

METRICS = ("top1", "top5", "f1", "mrr", "rmse")

Own = Callable[[np.ndarray, np.ndarray | None], float]


class Scorer:
    """Takes the first output of both models, batch after batch."""

    def __init__(self, metric: str, labels: np.ndarray | None, own: Own | None = None) -> None:
        self.metric, self.labels, self.own = metric, labels, own
        self.count = 0
        self.kept: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self.wanted: list[np.ndarray] = []

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """One batch of outputs; only what the metric needs of it is kept.

        Raises:
            UsageError: other shapes, rows the metric cannot read, more rows than labels.
        """
        if a.shape != b.shape or a.dtype.kind not in "fiu":
            raise UsageError(f"--metric {safe(self.metric)} needs equal rows of numbers")
        rows_a, rows_b = (self._rows(value) for value in (a, b))
        wanted = self._wanted(rows_a)
        self.count += len(rows_a)
        for kept, rows in zip(self.kept, (rows_a, rows_b), strict=True):
            kept.append(self._reduced(rows, wanted))
        self.wanted.append(wanted)

    def result(self) -> tuple[Score, ...]:
        """The figure of A and of B.

        Raises:
            UsageError: more labels than rows.
        """
        if self.labels is not None and len(self.labels) != self.count:
            raise UsageError(
                f"there are {len(self.labels)} labels and {self.count} rows",
                hint="a label for each row of the first output, in the order of the samples",
            )
        wanted = np.concatenate(self.wanted)
        a, b = (self._score(np.concatenate(kept), wanted) for kept in self.kept)
        return (Score(self.metric, a, b, self.count, self.labels is not None),)

    def _rows(self, value: np.ndarray) -> np.ndarray:
        if self.metric in ("rmse",) or self.own is not None:
            return value if value.ndim else value.reshape(1)
        if value.ndim < 2:
            return np.eye(2)[value.astype(int).clip(0, 1)] if value.ndim else value.reshape(1, 1)
        return value.reshape(-1, value.shape[-1])

    def _wanted(self, rows_a: np.ndarray) -> np.ndarray:
        if self.labels is None:
            return rows_a if self.metric == "rmse" or self.own is not None else rows_a.argmax(-1)
        found = self.labels[self.count : self.count + len(rows_a)]
        if len(found) < len(rows_a):
            raise UsageError(
                f"there are {len(self.labels)} labels and more rows",
                hint="a label for each row of the first output, in the order of the samples",
            )
        return found

    def _reduced(self, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """What the metric needs of ``rows``: classes, ranks of the label, squares, or all."""
        if self.own is not None:
            return rows
        if self.metric == "rmse":
            values, targets = rows.reshape(len(rows), -1), wanted.reshape(len(rows), -1)
            if values.shape != targets.shape:
                raise UsageError(
                    f"a row holds {values.shape[1]} values and its label {targets.shape[1]}",
                    hint="rmse takes a label for each value of the first output",
                )
            difference = values - targets
            return np.asarray(np.square(difference.astype(np.float64)).mean(axis=1))
        classes = wanted.astype(int)
        if wanted.ndim != 1 or not np.array_equal(classes, wanted):
            raise UsageError(
                f"labels of --metric {safe(self.metric)} are one whole number a row",
                hint="as class numbers; --metric rmse takes values",
            )
        if self.metric == "f1":
            return np.asarray(rows.argmax(-1))
        if classes.min(initial=0) < 0 or classes.max(initial=0) >= rows.shape[-1]:
            raise UsageError(f"a label is no class: there are {rows.shape[-1]} classes")
        score = np.take_along_axis(rows, classes[:, None], axis=-1)
        return np.asarray(1 + (rows > score).sum(axis=-1))

    def _score(self, values: np.ndarray, wanted: np.ndarray) -> float:
        if self.own is not None:
            return self._own_score(values, wanted if self.labels is not None else None)
        if self.metric == "rmse":
            return float(np.sqrt(values.mean()))
        if self.metric == "f1":
            return _macro_f1(values, wanted)
        if self.metric == "mrr":
            return float((1 / values).mean())
        return float((values <= (5 if self.metric == "top5" else 1)).mean())

    def _own_score(self, values: np.ndarray, wanted: np.ndarray | None) -> float:
        """What the user's function says; its own errors are told as such."""
        assert self.own is not None
        try:
            return float(self.own(values, wanted))
        except Exception as error:  # code of the user
            raise UsageError(
                f"--metric {safe(self.metric)} fails",
                cause=f"{type(error).__name__}: {safe(str(error))}",
                hint="it is called with (outputs, labels or None) and returns a number",
            ) from None


def scorer(metric: str | None, labels: np.ndarray | None) -> Scorer:
    """The scorer of ``metric`` (default top1).

    Raises:
        UsageError: no such metric, or a module:function that cannot be imported.
    """
    name = metric or "top1"
    if name in METRICS:
        return Scorer(name, labels)
    module, colon, function = name.partition(":")
    if not (colon and module and function.isidentifier()):
        raise UsageError(
            f"unknown metric '{safe(name)}'", hint=f"one of: {', '.join(METRICS)}, module:function"
        )
    # The installed script does not have the user's folder on its path.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, os.fspath(Path.cwd()))
    try:
        own = getattr(importlib.import_module(module), function)
    except Exception as error:  # code of the user
        raise UsageError(
            f"--metric {safe(name)} cannot be imported",
            cause=f"{type(error).__name__}: {safe(str(error))}",
        ) from None
    return Scorer(name, labels, own)


def read_targets(path: str | None) -> np.ndarray | None:
    """Labels of a .npy, .json (a list) or text file (one a line), one a row.

    Raises:
        BadInput: no such file, or something else than numbers.
    """
    if path is None:
        return None
    file = regular_file(Path(path))
    try:
        if file.suffix.lower() == ".npy":
            found = np.load(file, allow_pickle=False)
        elif file.suffix.lower() == ".json":
            found = np.asarray(json.loads(file.read_text(encoding="utf-8")))
        else:
            lines = file.read_text(encoding="utf-8").split()
            found = np.asarray([float(line.strip(",")) for line in lines])
        if found.dtype.kind not in "fiu" or found.ndim == 0:
            raise ValueError(f"values of type {found.dtype}")
    except (ValueError, OSError, RecursionError) as error:
        raise BadInput(
            f"{safe(path)} holds no labels",
            cause=safe(str(error)),
            hint="a number a line, a JSON list, or .npy",
        ) from None
    return np.asarray(found)


def _macro_f1(found: np.ndarray, wanted: np.ndarray) -> float:
    """The mean over classes of 2 TP / (2 TP + FP + FN)."""
    right = Counter(wanted[found == wanted].tolist())
    told, real = Counter(found.tolist()), Counter(wanted.tolist())
    classes = set(told) | set(real)
    scores = [2 * right[c] / (told[c] + real[c]) for c in classes]
    return float(np.mean(scores)) if scores else 0.0
