"""Rows of a benchmark in a JSON file, which runs of a part of it add to."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


def read(path: Path, kind: Callable[..., Row], interval: str) -> list[Row]:
    """The rows in ``path``, none if it is not there; their field ``interval`` is a tuple."""
    if not path.is_file():
        return []
    rows = []
    for found in json.loads(path.read_text())["rows"]:
        figures = found.pop(interval)
        rows.append(kind(**found, **{interval: tuple(figures) if figures else None}))
    return rows


def write(path: Path, rows: Iterable[Any], machine: dict[str, str]) -> None:
    """Write ``rows``, which are dataclasses, and the ``machine`` they were measured on."""
    found = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
