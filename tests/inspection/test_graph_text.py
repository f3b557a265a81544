from pathlib import Path

import onnx
import pytest

from modelkit.errors import UsageError
from modelkit.inspection import inspect_file
from modelkit.inspection.graph_text import graph_lines
from modelkit.model import load
from tests.inspection.test_inspection import BRANCHES
from tests.models import linear_text, model_file, parsed


def test_a_node_a_line(tmp_path: Path) -> None:
    lines = graph_lines(load(model_file(tmp_path / "m.onnx", linear_text(4, 3))))
    assert lines == [
        "linear(%x: float32[n,4]) {",
        "  weight %w: float32[4,3]",
        "  weight %b: float32[3]",
        "  %m = MatMul(%x, %w)",
        "  %y: float32[n,3] = Add(%m, %b)",
        "} -> (%y: float32[n,3])",
    ]


def test_bodies_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(BRANCHES).SerializeToString())
    text = "\n".join(graph_lines(load(path)))
    assert "    then_branch() {" in text
    assert "      %a: float32[n,4] = Add(%x, %w)  # third" in text
    assert "function own.Twice(%p) {" in text
    assert "Constant() <value=float32[1] [2.0]>" in text


def test_pages(tmp_path: Path) -> None:
    nodes = " ".join(f"t{i + 1} = Neg(t{i})" for i in range(450))
    text = (
        f'<ir_version: 8, opset_import: ["": 17]> g (float[n] t0) => (float[n] t450) {{ {nodes} }}'
    )
    path = str(model_file(tmp_path / "m.onnx", text))
    first = inspect_file(path, graph=True)
    assert (len(first.graph), first.pages) == (200, 3)
    assert inspect_file(path, graph=True, page=3).graph[-1].startswith("} ->")
    with pytest.raises(UsageError, match="no page 4"):
        inspect_file(path, graph=True, page=4)


def test_names_are_harmless(tmp_path: Path) -> None:
    proto = parsed(linear_text(2, 2))
    proto.graph.node[0].name = "\x1b[2J"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert not any("\x1b" in line for line in graph_lines(load(path)))
