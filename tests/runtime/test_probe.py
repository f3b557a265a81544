import pytest

from modelkit.errors import ProviderMissing
from modelkit.runtime.probe import limits, open_on


def test_the_cpu_opens() -> None:
    assert "CPUExecutionProvider" in open_on("cpu").notes


def test_what_is_not_there_does_not() -> None:
    with pytest.raises(ProviderMissing):
        open_on("qnn")


def test_the_newest_versions_are_found_by_trying() -> None:
    opset, ir_version = map(int, limits().notes)
    assert opset >= 20
    assert ir_version >= 10
