from pathlib import Path

from modelkit.inspection.lint import lint_findings
from modelkit.inspection.weights import tensors
from modelkit.model import facts, load
from tests.models import linear_text, model_file


def test_each_kind_of_finding_comes_once(tmp_path: Path) -> None:
    text = linear_text(4, 3).replace("y = Add(m, b)", "y = Add(m, b) z = Magic(m)")
    path = model_file(tmp_path / "m.onnx", text)
    model = load(path)
    found = list(lint_findings(model, facts(model, path), tensors(model)))
    assert [line.split(",")[0] for line in found] == [
        "1 nodes whose results nobody reads",
        "3 nodes have no name",
        "Magic is no operator of opset 20",
    ]
