"""The table of every conversion that the tests proved: python -m tests.convert.parity FILE."""

import json
import sys
from pathlib import Path
from typing import Any


def row(line: dict[str, Any]) -> tuple[str, ...]:
    """Framework, test, route, shapes, largest relative error, least agreement or SQNR."""
    held: dict[str, list[float]] = {}
    for error in line["errors"]:
        held.setdefault(error["metric"], []).append(error["value"])
    relative = f"{max(held['relative']):.1e}" if "relative" in held else "-"
    rest = [f"{name} {min(values):.4g}" for name, values in held.items() if name != "relative"]
    test = line["test"].removeprefix("test_").replace(".py::test_", ": ").replace("|", "/")
    words = (line["framework"], test, line["route"], str(line["shapes"]))
    return (*words, relative, ", ".join(rest) or "-")


def main(path: Path) -> None:
    """Print the table as markdown."""
    print("| framework | test | route | shapes | largest relative error | least agreement |")
    print("|---|---|---|---|---|---|")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for cells in sorted({row(line) for line in lines if line["errors"]}):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
