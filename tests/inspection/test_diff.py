from pathlib import Path

from modelkit.inspection import diff_files
from modelkit.reports import DiffReport
from tests.models import linear_text, model_file

TEXT = linear_text(4, 3)


def diff(tmp_path: Path, one: str, two: str, seeds: tuple[int, int] = (0, 0)) -> DiffReport:
    a = model_file(tmp_path / "a.onnx", one, seeds[0])
    return diff_files(str(a), str(model_file(tmp_path / "b.onnx", two, seeds[1])))


def kinds(report: DiffReport) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in report.differences]


def test_equal_models(tmp_path: Path) -> None:
    report = diff(tmp_path, TEXT, TEXT)
    assert (report.differences, report.operators, report.counts) == ((), {}, {})


def test_weights_byte_by_byte(tmp_path: Path) -> None:
    report = diff(tmp_path, TEXT, TEXT, (0, 1))
    assert kinds(report) == [("weight", "w"), ("weight", "b")]
    assert report.differences[0].b == "other values"


def test_signature_versions_operators_and_inputs(tmp_path: Path) -> None:
    other = TEXT.replace("float[n, 3] y", "float[k, 3] y").replace("y = Add(m, b)", "y = Sub(m, m)")
    report = diff(tmp_path, TEXT, other.replace('"": 20', '"": 19'))
    assert report.operators == {"Add": (1, 0), "Sub": (0, 1)}
    assert kinds(report) == [
        ("version", "opset ai.onnx"),
        ("output", "y"),
        ("operator", "y"),
        ("inputs of", "y"),
    ]
    assert report.counts == {"version": 1, "output": 1, "operator": 1, "inputs of": 1}


def test_attributes_and_nodes_that_one_lacks(tmp_path: Path) -> None:
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)'
    one = f"{head} {{ s = Softmax<axis=1>(x) y = Neg(s) }}"
    two = f"{head} {{ s = Softmax<axis=0>(x) y = Neg(s) z = Abs(s) }}"
    report = diff(tmp_path, one, two)
    assert kinds(report) == [("attribute", "s.axis"), ("node", "z")]
    assert (report.differences[0].a, report.differences[0].b) == ("1", "0")
