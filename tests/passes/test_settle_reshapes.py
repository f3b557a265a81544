import numpy as np
import pytest

from modelkit.model import const_of
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.settle_reshapes import settle_reshapes
from tests.passes.harness import applied, normal, ops


def heads(tail: str, attributes: str = "", more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[b, s, 768] x) => (float[i, j, k, l] y)
    <int64 zero = {{0}}, int64 one = {{1}}, int64[1] axis = {{0}}, int64[1] h = {{12}},
     int64[1] d = {{64}}, int64[1] rest = {{-1}}> {{
      n = Shape(x)
      b1 = Gather(n, zero)
      s1 = Gather(n, one)
      b2 = Unsqueeze(b1, axis)
      s2 = Unsqueeze(s1, axis)
      t = Concat<axis = 0>({tail})
      r = Reshape{attributes}(x, t)
      {more}
      y = Relu(r)
    }}"""


TRIALS = ({"x": normal(2, 3, 768)}, {"x": normal(1, 7, 768)}, {"x": normal(3, 1, 768)})
EMPTY = {"x": normal(0, 3, 768)}


@pytest.mark.parametrize(
    ("tail", "spelled"),
    [
        ("b2, s2, h, d", [0, 0, 12, 64]),
        ("b2, s2, rest, d", [0, 0, 12, 64]),
        ("b2, h, rest, d", [0, 12, -1, 64]),
    ],
)
def test_copied_dims_become_zeros(tail: str, spelled: list[int]) -> None:
    passes = (infer_symbols, settle_reshapes, remove_unused)
    trials = TRIALS if "rest" in tail else (*TRIALS, EMPTY)
    model, _ = applied(heads(tail), *passes, trials=trials)
    assert ops(model) == {"Reshape": 1, "Relu": 1}
    assert np.array_equal(const_of(model.graph[0].inputs[1]), spelled)  # type: ignore[arg-type]


def test_zeros_copy_only_without_allowzero() -> None:
    text = heads("b2, s2, h, d", "<allowzero = 1>")
    model, count = applied(text, infer_symbols, settle_reshapes, trials=TRIALS)
    assert count == 1
    assert "allowzero" not in model.graph[-2].attributes


def test_two_moved_dims_cannot_be_settled() -> None:
    assert applied(heads("s2, b2, h, d"), infer_symbols, settle_reshapes, trials=TRIALS)[1] == 0


def test_no_length_is_inferred_that_an_empty_axis_would_hide() -> None:
    text = heads("b2, h, s2, d")
    assert applied(text, infer_symbols, settle_reshapes, trials=(*TRIALS, EMPTY))[1] == 0


def test_a_model_that_infers_these_axes_elsewhere_is_never_empty() -> None:
    text = heads("b2, h, s2, d", more="o = Reshape(x, rest)").replace(" y)", " y, float[m] o)")
    model, count = applied(text, infer_symbols, settle_reshapes, trials=TRIALS)
    assert count == 1
    (settled,) = [node for node in model.graph if node.outputs[0].name == "r"]
    assert np.array_equal(const_of(settled.inputs[1]), [0, 12, -1, 64])  # type: ignore[arg-type]
