import os
import tempfile
from pathlib import Path

import pytest

from modelkit.errors import CannotWrite
from modelkit.worker import log


def words(text: str) -> str:
    with log.opened() as printed:
        os.write(printed.fileno(), text.encode())
        return printed.words()


def test_the_last_lines_are_shown_and_safe() -> None:
    lines = [f"line {number}" for number in range(50)] + ["\x1b[2Jcleared", ""]
    shown = words("\n".join(lines)).splitlines()
    assert len(shown) == 20
    assert shown[-2:] == ["line 49", "\\x1b[2Jcleared"]


def test_stacks_stay_in_the_log() -> None:
    text = (
        "terminate called after throwing an instance of 'std::runtime_error'\n"
        "  what():  broken\n"
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n'
        "    f()\n"
        "ImportError: no b\n"
        "Fatal Python error: Aborted\n\n"
        "Current thread 0x1 (most recent call first):\n"
        '  File "c.py", line 1 in g\n'
    )
    assert words(text).splitlines() == [
        "terminate called after throwing an instance of 'std::runtime_error'",
        "  what():  broken",
        "ImportError: no b",
    ]


def test_a_huge_log_costs_little() -> None:
    assert words("x" * (1 << 22) + "\nlast\n").endswith("\nlast")


def test_a_kept_log_holds_everything() -> None:
    text = "Fatal Python error: Aborted\n" + "x" * 100_000
    with log.opened() as printed:
        os.write(printed.fileno(), text.encode())
        kept = Path(printed.keep())
    assert kept.read_text() == text
    kept.unlink()


def test_no_temporary_folder_is_an_error_for_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(CannotWrite, match="no temporary file"), log.opened():
        pytest.fail("it opened")


@pytest.mark.parametrize(
    "text", ["terminate called: std::bad_alloc", "mmap: Cannot allocate memory", "bad allocation"]
)
def test_libraries_out_of_memory_are_understood(text: str) -> None:
    assert log.tells_out_of_memory(text)
    assert not log.tells_out_of_memory("bad input")
