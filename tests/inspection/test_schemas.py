from pathlib import Path

import onnx
import pytest

from modelkit.inspection.schemas import kernel_findings, schema_findings
from modelkit.model import load
from modelkit.runtime import kernels

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)'


def model(tmp_path: Path, body: str, head: str = HEAD):  # type: ignore[no-untyped-def]
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(f"{head} {{ {body} }}").SerializeToString())
    return load(path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = Magic(x)", "Magic is no operator of opset 17"),
        ("y = Gelu(x)", "Gelu is no operator of opset 17"),
        ("y = Neg(x, x)", "Neg has 2 inputs, the specification 1-1"),
        ("y = Softmax<axes=1>(x)", "attribute 'axes'"),
        ("y = Cast(x)", "Cast lacks its attribute 'to'"),
    ],
)
def test_what_breaks_the_specification(tmp_path: Path, body: str, words: str) -> None:
    (line,) = schema_findings(model(tmp_path, body))
    assert words in line


def test_a_good_model_and_foreign_operators_have_no_findings(tmp_path: Path) -> None:
    head = HEAD.replace('"": 17', '"": 17, "com.microsoft": 1')
    found = model(tmp_path, "p = Softmax<axis=1>(x) y = com.microsoft.Gelu(p)", head)
    assert not list(schema_findings(found))
    assert not list(kernel_findings(found))


def test_operators_without_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model(tmp_path, "p = Neg(x) q = Neg(p) c = Constant<value_float=1.0>() y = Add(q, c)")
    assert not list(kernel_findings(found))
    monkeypatch.setattr(kernels, "has_kernel", lambda domain, op, since: op != "Neg")
    (line,) = kernel_findings(found)
    assert "has no kernel for Neg (opset 13): 2 nodes" in line
