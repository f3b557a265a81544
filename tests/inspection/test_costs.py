from pathlib import Path

import pytest

from modelkit.errors import UsageError
from modelkit.inspection.costs import costs
from modelkit.model import load
from tests.models import linear_text, model_file
from tests.rewrite.test_winograd import written

TWO = """<ir_version: 8, opset_import: ["": 17]>
g (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y) <float[8, 32] a, float[32, 8] b>
{ p = MatMul(x, a) q = Relu(p) r = MatMul(q, b) y = Add(r, x) }"""


def test_arithmetic_and_memory_at_the_usual_lengths(tmp_path: Path) -> None:
    found = costs(load(model_file(tmp_path / "m.onnx", TWO)), {})
    assert found.dims == {"batch": 1, "sequence": 128}
    rows = 128
    assert found.by_operator == {
        "MatMul": 2 * rows * 8 * 32 * 2,
        "Relu": rows * 32,
        "Add": rows * 8,
    }
    assert found.flops == sum(found.by_operator.values())
    # x, p and q are alive together when q is made.
    assert found.activation_bytes == 4 * rows * (8 + 32 + 32)
    assert found.peak_node.startswith("Relu")
    assert found.unknown == 0


def test_lengths_of_choice(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    assert costs(load(path), {"n": 10}).by_operator == {"MatMul": 480, "Add": 30}
    with pytest.raises(UsageError, match="no dynamic axis is called 'm'"):
        costs(load(path), {"m": 10})


def test_what_has_no_shape_is_counted_as_unknown(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[k] y)
    { i = NonZero(x) j = Squeeze(i) g = Gather(x, j) y = Neg(g) }"""
    assert costs(load(model_file(tmp_path / "m.onnx", text)), {}).unknown > 0


def test_a_convolution_computed_by_winograds_algorithm_costs_what_it_stands_for() -> None:
    found = costs(written(), {"n": 2})
    assert found.by_operator["Conv"] == 2 * (2 * 2 * 64 * 64 * 9 * 16 * 16)
