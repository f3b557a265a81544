"""The README says what the code says."""

import re
from pathlib import Path

from modelkit.cli.app import COMMANDS
from modelkit.runtime.compare import TOLERANCES

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_table_of_tolerances_is_the_table_of_the_code() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([^|]+) \| ([\d.]+) % equal \|$", README, re.MULTILINE)
    expected = [
        (step, str(tolerance), f"{tolerance.agreement * 100:g}")
        for step, tolerance in TOLERANCES.items()
    ]
    assert rows == expected


def test_every_command_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)", README, re.MULTILINE))
    assert rows == set(COMMANDS)


def test_the_fusion_it_shows_is_one_of_the_library() -> None:
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    namespace: dict[str, object] = {}
    exec(compile(shown.group(1), "README.md", "exec"), namespace)
    assert {"before", "when", "after"} <= set(namespace)
