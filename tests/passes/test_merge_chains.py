import numpy as np
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.merge_chains import merge_chains
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops

PASSES = (infer_symbols, merge_chains, remove_unused)
FEEDS = {"x": normal(2, 3, 4)}


def chain(first: str, second: str, kind: str = "float") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[a, 3, 4] x) => ({kind}[i, j, k] y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[2] flat = {{-1, 4}},
     int64[3] full = {{-1, 3, 4}}, int64[3] copy = {{0, -1, 1}}> {{
      m = {first}
      n = {second}
      y = Identity(n)
    }}"""


@pytest.mark.parametrize(
    ("first", "second", "kind", "left"),
    [
        ("Transpose<perm = [1, 2, 0]>(x)", "Transpose<perm = [0, 2, 1]>(m)", "float", "Transpose"),
        ("Transpose(x)", "Transpose<perm = [0, 2, 1]>(m)", "float", "Transpose"),
        ("Reshape(x, flat)", "Reshape(m, full)", "float", "Reshape"),
        ("Flatten(x)", "Reshape(m, full)", "float", "Reshape"),
        ("Cast<to = 11>(x)", "Cast<to = 6>(m)", "int32", "Cast"),
    ],
)
def test_two_become_one(first: str, second: str, kind: str, left: str) -> None:
    model, _ = applied(chain(first, second, kind), *PASSES, trials=(FEEDS,))
    assert ops(model) == {left: 1, "Identity": 1}


def test_unsqueezes_and_squeezes_join_their_axes() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[a, 3, 4] x) => (float[i, j, k, l, m] y, float[n, o, p] z)
    <int64[1] zero = {0}, int64[2] both = {0, 3}, int64[1] last = {-1}, int64[2] two = {0, 1}> {
      b = Unsqueeze(x, zero)
      c = Unsqueeze(b, both)
      y = Identity(c)
      d = Squeeze(y, zero)
      e = Squeeze(d, zero)
      w = Unsqueeze(e, last)
      f = Squeeze(w, last)
      z = Squeeze(f, last)
    }"""
    text = text.replace("float[n, o, p] z", "float[a, 3, 4] z").replace("{0, 3}", "{0, 5}")
    text = text.replace("z = Squeeze(f, last)", "z = Identity(f)").replace(
        "[i, j, k, l, m]", "[i, j, k, l, m, o]"
    )
    text = text.replace("e = Squeeze(d, zero)", "e0 = Squeeze(d, zero)\n e = Squeeze(e0, last)")
    model, _ = applied(text, *PASSES, trials=(FEEDS,))
    assert ops(model) == {"Identity": 2, "Squeeze": 1, "Unsqueeze": 1}


def test_unsqueeze_then_squeeze_of_the_same_axis_is_nothing() -> None:
    model, _ = applied(chain("Unsqueeze(x, one)", "Squeeze(m, one)"), *PASSES, trials=(FEEDS,))
    assert ops(model) == {"Identity": 1}


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("Reshape(x, flat)", "Reshape(m, copy)", "float"),
        ("Cast<to = 6>(x)", "Cast<to = 11>(m)", "double"),
        ("Unsqueeze(x, zero)", "Squeeze(m, one)", "float"),
    ],
)
def test_what_loses_or_copies_on_the_way_stays(first: str, second: str, kind: str) -> None:
    text = chain(first, second, kind)
    if "one" in second:
        text = text.replace("x) =>", "x_) =>").replace(
            "m = ", "x = Slice(x_, zero, one, one)\n m = "
        )
    assert applied(text, infer_symbols, merge_chains)[1] == 0


def test_a_first_node_that_others_read_stays_for_them() -> None:
    text = chain("Transpose<perm = [1, 2, 0]>(x)", "Transpose<perm = [0, 2, 1]>(m)")
    text = text.replace("y = Identity(n)", "q = ReduceSum<keepdims = 0>(m)\n y = Add(n, q)")
    model, _ = applied(text, *PASSES)
    assert ops(model)["Transpose"] == 2
    assert all(
        node.inputs[0] is model.graph.inputs[0]
        for node in model.graph
        if node.op_type == "Transpose"
    )
    assert np.ndim(FEEDS["x"]) == 3


@pytest.mark.parametrize(("axes", "left"), [("b, s", 0), ("s, b", 2)], ids=["same", "turned"])
def test_reshapes_to_computed_lengths_that_end_where_they_began_go(axes: str, left: int) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[b, s, 4] x) => (float[i, j, k] y)
    <int64[1] flat = {{-1}}, int64[1] four = {{4}}> {{
      b = Shape<start = 0, end = 1>(x) s = Shape<start = 1, end = 2>(x)
      d = Concat<axis = 0>({axes}, four) e = Reshape(x, flat) r = Reshape(e, d) y = Exp(r)
    }}"""
    trials = ({"x": normal(2, 3, 4)}, {"x": normal(1, 3, 4)})
    model, _ = applied(text, *PASSES, trials=trials)
    assert ops(model).get("Reshape", 0) == left
