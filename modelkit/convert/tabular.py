"""Rows for models of tables: values where the model's own statistics say that data lie."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelkit.model import InputSpec
from modelkit.runtime.session import Feeds

# Rows of each trial: one, an odd number, and enough for every branch of small trees.
_ROWS = (1, 61, 400)
_MISSING_SHARE = 0.1
_SPAN = 2.0


@dataclass(frozen=True)
class Column:
    """One feature.

    Attributes:
        dtype: "float32", "int64" or "str".
        low, high: the range of its numbers.
        values: all it may hold, for strings and codes; empty for plain numbers.
        missing: whether NaN is a value.
    """

    name: str
    dtype: str = "float32"
    low: float = -_SPAN
    high: float = _SPAN
    values: tuple[object, ...] = ()
    missing: bool = False


@dataclass(frozen=True)
class Table:
    """The inputs of a model: one matrix ``name``, or one [batch, 1] input a column."""

    columns: tuple[Column, ...]
    name: str = ""
    double: bool = False

    def specs(self) -> tuple[InputSpec, ...]:
        """What each input holds."""
        if self.name:
            low = min((c.low for c in self.columns), default=0.0)
            high = max((c.high for c in self.columns), default=0.0)
            shape = ("batch", len(self.columns))
            return (InputSpec(self.name, self.number(), shape, "float", low, high),)
        return tuple(
            InputSpec(
                column.name,
                self.number() if column.dtype == "float32" else column.dtype,
                ("batch", 1),
                "float" if column.dtype == "float32" else "other",
                None if column.dtype == "str" else column.low,
                None if column.dtype == "str" else column.high,
            )
            for column in self.columns
        )

    def number(self) -> str:
        """The type of its numbers."""
        return "float64" if self.double else "float32"

    def trials(self, seed: int = 0) -> tuple[Feeds, ...]:
        """Seeded rows, of several counts."""
        random = np.random.default_rng(seed)
        return tuple(self._rows(count, random) for count in _ROWS)

    def whole(self) -> "Table":
        """The same without missing values."""
        columns = tuple(replace(column, missing=False) for column in self.columns)
        return replace(self, columns=columns)

    def feeds(self, matrix: np.ndarray) -> Feeds:
        """A matrix of numbers as the inputs of a model that takes one."""
        return {self.name: matrix.astype(self.number())}

    def _rows(self, count: int, random: np.random.Generator) -> Feeds:
        columns = [self._values(column, count, random) for column in self.columns]
        if self.name:
            return {self.name: np.stack(columns, axis=1).astype(self.number())}
        return {c.name: v.reshape(-1, 1) for c, v in zip(self.columns, columns, strict=True)}

    def _values(self, column: Column, count: int, random: np.random.Generator) -> np.ndarray:
        if column.values:
            chosen = np.empty(len(column.values), dtype=object)
            chosen[:] = column.values
            drawn = chosen[random.integers(0, len(chosen), count)]
        else:
            drawn = random.uniform(column.low, column.high, count)
        if column.dtype == "str":
            return drawn.astype(object)
        numbers = drawn.astype(self.number() if column.dtype == "float32" else column.dtype)
        if column.missing and count > 1:
            numbers[random.random(count) < _MISSING_SHARE] = np.nan
        return numbers


def around(splits: Sequence[np.ndarray], *, missing: bool = False) -> tuple[Column, ...]:
    """A column a feature whose range covers its ``splits``, with room on both sides."""
    columns = []
    for index, values in enumerate(splits):
        finite = values[np.isfinite(values)]
        column = Column(f"x{index}", missing=missing)
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            room = max((high - low) * 0.25, abs(high) * 1e-3, 1e-6)
            column = replace(column, low=low - room, high=high + room)
        columns.append(column)
    return tuple(columns)


def on_splits(splits: Sequence[np.ndarray], double: bool, seed: int = 0) -> np.ndarray:
    """Rows whose values lie exactly on splits, or next to them on either side."""
    random = np.random.default_rng(seed)
    kind = np.float64 if double else np.float32
    count = _ROWS[-1]
    matrix = np.zeros((count, len(splits)), dtype=kind)
    for index, values in enumerate(splits):
        finite = values[np.isfinite(values)]
        if finite.size:
            drawn = finite[random.integers(0, finite.size, count)].astype(kind)
            up, down = kind(np.inf), kind(-np.inf)
            side = random.integers(0, 3, count)
            near = np.where(side == 1, np.nextafter(drawn, up), np.nextafter(drawn, down))
            matrix[:, index] = np.where(side == 0, drawn, near)
    return matrix
