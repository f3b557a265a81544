import numpy as np
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_identity import remove_identity
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops

CONSTANTS = """<int64[3] shape = {0, -1, 4}, int64[1] zero = {0}, int64[1] big = {9999999999},
 int64[1] one = {1}, int64[1] minus = {-1}, int64[1] far = {-9999999999},
 int64[6] pads = {0, 0, 0, 0, 0, 0},
 int64[6] some = {0, 1, 0, 0, 0, 0},
 int64[3] ones = {1, 1, 1}, float unit = {1.0}, float none = {0.0},
 float[1, 1, 1, 1] wide = {0.0}, int64 start = {0}>"""


def around(node: str) -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 4] x) => (float[i, j, k] y) {CONSTANTS} {{
      a = Relu(x)
      b = {node}
      y = Neg(b)
    }}"""


@pytest.mark.parametrize(
    "node",
    [
        "Identity(a)", "Dropout(a)", "Cast<to = 1>(a)", "Reshape(a, shape)", "Concat<axis = 1>(a)",
        "Transpose<perm = [0, 1, 2]>(a)", "Slice(a, zero, big, one)", "Pad(a, pads)", "Sum(a)",
        "Expand(a, ones)", "Tile(a, ones)", "Add(a, none)", "Add(none, a)", "Mul(unit, a)",
        "Div(a, unit)", "Sub(a, none)", "Pow(a, unit)",
    ],
)  # fmt: skip
def test_what_changes_nothing_goes(node: str) -> None:
    trials = ({"x": normal(2, 3, 4)}, {"x": normal(5, 3, 4)})
    model, count = applied(around(node), infer_symbols, remove_identity, trials=trials)
    assert (count, ops(model)) == (1, {"Relu": 1, "Neg": 1})


@pytest.mark.parametrize(
    "node",
    [
        "Cast<to = 11>(a)", "Transpose<perm = [0, 2, 1]>(a)", "Slice(a, one, big, one)",
        "Slice(a, minus, far, one, minus)", "Pad(a, some)", "Add(a, wide)", "Div(unit, a)",
        "Sub(none, a)", "Dropout(a, none, yes)",
    ],
)  # fmt: skip
def test_what_changes_something_stays(node: str) -> None:
    text = around(node)
    if "Cast" in node:
        text = text.replace("=> (float[", "=> (double[")
    if "wide" in node:
        text = text.replace("[i, j, k] y", "[i, j, k, l] y")
    if "yes" in node:
        text = text.replace("int64 start = {0}", "int64 start = {0}, bool yes = {1}")
    assert applied(text, infer_symbols, remove_identity)[1] == 0


def test_a_dropout_whose_mask_is_read_stays() -> None:
    text = around("Dropout(a)").replace("b = Drop", "b, mask = Drop")
    text = text.replace("(float[i, j, k] y)", "(float[i, j, k] y, bool[i, j, k] mask)")
    assert applied(text, remove_identity)[1] == 0


def test_a_node_between_input_and_output_stays_and_names_are_kept() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y, float[n] z) { y = Identity(x)
                                                 a = Relu(x)
                                                 z = Identity(a) }"""
    model, count = applied(text, remove_identity, trials=({"x": normal(3)},))
    assert (count, ops(model)) == (1, {"Identity": 1, "Relu": 1})
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_inside_a_branch_and_a_loop() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2] x) => (float[2] y) <int64 trips = {3}, bool go = {1}> {
      y = Loop(trips, go, x) <body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w) {
        d = Identity(c)
        e = Identity(v)
        f = Add(e, e)
        w = Identity(f)
      }>
    }"""
    model, count = applied(text, remove_identity, trials=({"x": normal(2)},))
    assert (count, ops(model)) == (2, {"Identity": 1, "Add": 1, "Loop": 1})


def test_zero_biases_of_constant_nodes() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3] x) => (float[n, 3] y) { b = Constant<value = float[3] {0.0, 0.0, 0.0}>()
                                           a = Relu(x)
                                           y = Add(a, b) }"""
    feeds = {"x": np.abs(normal(2, 3))}
    model, _ = applied(text, lift_constants, infer_symbols, remove_identity, trials=(feeds,))
    assert ops(model) == {"Relu": 1}


MASKS = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x, float[n, 4] z, bool[n, 4] m) => (float[n, 4] y)
<bool yes = {1}, bool no = {0}, float one = {1}> { s = Shape(x) %s }"""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("c = Expand(yes, s) w = Where(c, x, z) y = Neg(w)", {"Neg": 1}),
        ("c = Expand(no, s) w = Where(c, x, z) y = Neg(w)", {"Neg": 1}),
        ("w = Where(m, x, x) y = Neg(w)", {"Neg": 1}),
        ("c = Expand(yes, s) d = And(c, m) y = Where(d, x, z)", {"Where": 1}),
        ("c = Expand(yes, s) e = Not(c) d = Or(m, e) y = Where(d, x, z)", {"Where": 1}),
        ("o = Expand(one, s) w = Mul(x, o) y = Neg(w)", {"Neg": 1}),
        ("w = Where(m, x, z) y = Neg(w)", {"Neg": 1, "Where": 1}),
    ],
)
def test_masks_that_hide_nothing(body: str, left: dict[str, int]) -> None:
    trials = tuple(
        {"x": normal(n, 4), "z": normal(n, 4, seed=1), "m": normal(n, 4, seed=2) > 0}
        for n in (1, 3, 0)
    )
    passes = (infer_symbols, remove_identity, remove_unused)
    assert ops(applied(MASKS % body, *passes, trials=trials)[0]) == left


@pytest.mark.parametrize(
    ("pool", "left"),
    [
        ("MaxPool<kernel_shape = [1, 1]>(x)", {"Neg": 1}),
        ("MaxPool<kernel_shape = [1, 1], strides = [1, 1], pads = [0, 0, 0, 0]>(x)", {"Neg": 1}),
        ("MaxPool<kernel_shape = [1, 1], strides = [2, 1]>(x)", {"MaxPool": 1, "Neg": 1}),
        ("MaxPool<kernel_shape = [1, 2]>(x)", {"MaxPool": 1, "Neg": 1}),
    ],
)
def test_a_pool_over_single_pixels_goes(pool: str, left: dict[str, int]) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 2, 5, 4] x) => (float[n, 2, h, w] y) {{ b = {pool} y = Neg(b) }}"""
    trials = ({"x": normal(2, 2, 5, 4)},)
    model, _ = applied(text, infer_symbols, remove_identity, trials=trials)
    assert ops(model) == left
