from pathlib import Path

import pytest

from modelkit.convert.factory import build
from modelkit.errors import UsageError


def test_the_working_folder_is_searched_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net_of_factory_test.py").write_text("def build():\n    return 5\n")
    monkeypatch.chdir(tmp_path)
    assert build("net_of_factory_test:build") == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net", "not module:function"),
        ("net.py:build", "not module:function"),
        ("no_such_module_anywhere:build", "no Python module"),
        ("tests.convert.samples:nothing", "has no function 'nothing'"),
        ("tests.convert.samples:broken", "raised ValueError"),
    ],
)
def test_each_mistake_has_its_own_text(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(text)


def test_a_factory_that_raises_names_its_line() -> None:
    with pytest.raises(UsageError) as caught:
        build("tests.convert.samples:broken")
    assert caught.value.cause.startswith("samples.py:")
    assert "no such checkpoint" in caught.value.cause


def test_a_module_that_needs_another_names_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net_that_needs.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "net_of_errors.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="needs 'not_installed_anywhere'"):
        build("net_that_needs:build")
    with pytest.raises(UsageError, match="could not be imported") as caught:
        build("net_of_errors:build")
    assert "ZeroDivisionError" in caught.value.cause
