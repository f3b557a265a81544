"""What is fast where: measured tables, as data.

A row is a fusion and the ratios of old time to new time on that target, by size, with ONNX
Runtime's own optimizations on.  A fusion is applied on a target where its row shows a gain at one
size at least and no loss at any: the lengths of axes are rarely known before a model runs.  On
another processor, or with another ONNX Runtime, than a table was measured with, only large gains
are sure to be gains (:meth:`Target.sure`); the rest is for the speed gate to confirm.
"""

import difflib
import json
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from modelkit.errors import BadInput, UsageError
from modelkit.safe import safe

FOLDER = Path(__file__).parent
THREADED = "-2-threads"
"""What the name of a file ends in whose table was measured so, beside that of 1 thread."""
LOSS = 0.94
"""Below this ratio a fusion is slower; above, it is the cost of calling one small operator more."""
SURE = 1.10
"""A gain of this much at every size is taken for one on other machines too."""


@dataclass(frozen=True)
class Target:
    """One place to run: fusion to measured speed-ups by size, and why some are refused there.

    ``instructions`` and ``runtime`` are those it was measured with, as "x86-64 avx512" and "1.31";
    "" where they do not matter.  ``least`` is what a rewrite must reach at every size; ``path`` is
    the file it was read from.
    """

    name: str
    title: str
    measured: str
    ratios: dict[str, dict[str, float]]
    command: str = ""
    instructions: str = ""
    runtime: str = ""
    least: float = LOSS
    path: Path | None = field(default=None, compare=False)

    def elsewhere(self, instructions: str, runtime: str) -> str:
        """What was other where the table was measured; "" if nothing was.

        ``runtime`` is the version of ONNX Runtime here, of which the first two numbers count.
        """
        pairs = (
            (self.instructions, instructions),
            (self.runtime and f"ONNX Runtime {self.runtime}", f"ONNX Runtime {release(runtime)}"),
        )
        others = (f"{there}, not {here}" for there, here in pairs if there not in ("", here))
        return " and ".join(others)

    def threaded(self) -> "Target":
        """The same target, where what loses on more threads is left out too, if it was measured."""
        beside = self.path and self.path.with_stem(self.path.stem + THREADED)
        if beside is None or not beside.is_file():
            return self
        ratios = {fusion: dict(rows) for fusion, rows in self.ratios.items()}
        for fusion, rows in load(str(beside)).ratios.items():
            told = {f"{size} on 2 threads".strip(): ratio for size, ratio in rows.items()}
            ratios.setdefault(fusion, {}).update(told)
        return replace(self, ratios=ratios)

    def sure(self) -> "Target":
        """The same target, where only what gains ``SURE`` at every size is applied.

        On more threads too, where that was measured.  A table that no machine was measured for
        stays as it is.
        """
        return replace(self.threaded(), least=SURE) if self.instructions else self

    def allows(self, fusion: str) -> str | None:
        """None if the fusion pays here, else the reason it is left out."""
        ratios = self.ratios.get(fusion)
        if not ratios:
            return f"it was not measured on target {self.name}"
        size, worst = min(ratios.items(), key=lambda row: row[1])
        where = f" at {size}" if size else ""
        if worst < LOSS:
            return f"it is slower on target {self.name} ({worst:.2f}x{where})"
        if worst < self.least:
            return f"it gains too little on target {self.name} to be sure ({worst:.2f}x{where})"
        if max(ratios.values()) < 1.0:
            return f"it brings nothing on target {self.name}"
        return None


def release(version: str) -> str:
    """The first two numbers of a version: 1.31 of 1.31.1."""
    return ".".join(version.split(".")[:2])


def names() -> list[str]:
    """The targets that have a table."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load(name: str) -> Target:
    """The table of ``name``, or the one in the file ``name`` where that ends in ``.toml``.

    Raises:
        UsageError: no such target.
        BadInput: the file holds no table.
    """
    if name.endswith(".toml"):
        return _read(Path(name), Path(name).stem)
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(names())}"
        raise UsageError(f"no target is called '{safe(name)}'", hint=hint)
    return _read(FOLDER / f"{name}.toml", name)


def _read(path: Path, name: str) -> Target:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        ratios = {fusion: _row(row) for fusion, row in table["fusions"].items()}
        title, measured = str(table["title"]), str(table["measured"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(
            f"the table {safe(str(path))} cannot be read", cause=safe(str(error))
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(
            f"{safe(str(path))} holds no table of fusions",
            hint="modelkit tune --kernels -o FILE writes one",
        ) from None
    command, instructions, runtime = (
        str(table.get(key, "")) for key in ("command", "instructions", "runtime")
    )
    return Target(name, title, measured, ratios, command, instructions, runtime, path=path)


def _row(row: Any) -> dict[str, float]:
    if isinstance(row, dict):
        return {str(size): float(ratio) for size, ratio in row.items()}
    return {"": float(row)}


def text_of(target: Target) -> str:
    """The table as :func:`load` reads it."""
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in (
            ("title", target.title),
            ("measured", target.measured),
            ("command", target.command),
            ("instructions", target.instructions),
            ("runtime", target.runtime),
        )
        if value
    ]
    for fusion, ratios in sorted(target.ratios.items()):
        lines += ["", f"[fusions.{fusion}]"]
        lines += [f"{json.dumps(size)} = {ratio:.2f}" for size, ratio in ratios.items()]
    return "\n".join(lines) + "\n"
