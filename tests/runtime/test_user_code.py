import sys
from pathlib import Path

import pytest

from modelkit.errors import UsageError
from modelkit.runtime.user_code import attribute_of, line_of, working_folder_first


def test_the_path_is_as_it_was_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with working_folder_first():
        assert sys.path[0] == str(tmp_path)
    assert sys.path == before


def test_any_attribute_is_found_and_mistakes_name_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_user_code_test.py").write_text("held = [1, 2]\n")
    (tmp_path / "broken_user_code_test.py").write_text("\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    assert attribute_of("of_user_code_test:held", "--data") == [1, 2]
    with pytest.raises(UsageError, match=r"--data held.py:x is not module:function"):
        attribute_of("held.py:x", "--data")
    with pytest.raises(UsageError, match="could not be imported") as caught:
        attribute_of("broken_user_code_test:x", "--data")
    assert "broken_user_code_test.py:2" in caught.value.cause


def test_an_error_that_was_never_raised_has_no_line() -> None:
    assert line_of(ValueError("x")) == ""
