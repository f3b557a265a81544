import pytest

from modelkit.passes import BASIC, run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.restore_batch_axes import restore_batch_axes
from tests.passes.harness import applied, check, model_of, normal, ops


def flattened(perm: str = "[0, 2, 1]", last: str = "b, h, d, s") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[batch, 4, seq, 8] x) => (float[i, j, k, l] y) <int64[1] rest = {{-1}}> {{
      b = Shape<start = 0, end = 1>(x)
      h = Shape<start = 1, end = 2>(x)
      s = Shape<start = 2, end = 3>(x)
      d = Shape<start = 3, end = 4>(x)
      three = Concat<axis = 0>(rest, s, d)
      four = Concat<axis = 0>({last})
      f = Reshape(x, three)
      t = Transpose<perm = {perm}>(f)
      r = Reshape(t, four)
      y = Exp(r)
    }}"""


TRIALS = ({"x": normal(2, 4, 3, 8)}, {"x": normal(1, 4, 7, 8)})


def test_three_nodes_and_their_shape_arithmetic_become_one() -> None:
    before = model_of(flattened())
    model = model_of(flattened())
    run_passes(model, BASIC)
    assert ops(model) == {"Transpose": 1, "Exp": 1}
    assert list(model.graph[0].attributes["perm"].value) == [0, 1, 3, 2]
    check(model, *TRIALS, before=before)


@pytest.mark.parametrize(
    "text",
    [flattened(perm="[1, 0, 2]"), flattened(last="b, h, s, d"), flattened(last="h, b, d, s")],
)
def test_another_order_stays(text: str) -> None:
    assert applied(text, infer_symbols, restore_batch_axes, trials=TRIALS)[1] == 0
