from pathlib import Path

import pytest

from modelkit.model import facts, load
from modelkit.model.facts import lowest_runtime, newest_of, operator_counts
from tests.models import linear_text, model_file
from tests.rewrite.test_winograd import written


def test_facts_of_a_small_model(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 300))
    found = facts(load(path), path)
    assert (found.nodes, found.parameters, found.opset) == (2, 2700, {"": 20})
    assert found.bytes == path.stat().st_size
    assert found.lowest_runtime == "1.18"


def test_operators_of_other_domains_are_counted(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (float[2] x) => (float[2] y) { a = com.microsoft.Gelu(x) y = Neg(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    assert facts(load(path), path).contrib == {"com.microsoft.Gelu": 1}


@pytest.mark.parametrize(
    ("opset", "ir_version", "release"),
    [
        (13, 7, "1.8"),
        (17, 8, "1.12"),
        (20, 9, "1.17"),
        (20, 10, "1.18"),
        (23, 11, "1.22"),
        (99, 8, ""),
    ],
)
def test_the_oldest_runtime(opset: int, ir_version: int, release: str) -> None:
    assert lowest_runtime(opset, ir_version) == release


def test_a_release_between_two_opens_what_the_older_does() -> None:
    assert newest_of(1, 17) == (20, 9)
    assert newest_of(1, 19) == (21, 10)
    assert newest_of(2, 0) == (26, 13)
    assert newest_of(1, 7) is None


def test_a_function_of_modelkits_own_counts_as_one_operator() -> None:
    assert operator_counts(written()) == {"modelkit.WinogradConv": 2, "Abs": 1}
