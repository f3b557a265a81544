"""Models at each opset, converted up and down, compute what they did."""

import numpy as np
import pytest

from modelkit.errors import Unsupported
from modelkit.model import clone
from modelkit.passes.convert_opset import convert_opset
from tests.passes.harness import Feeds, check, model_of, normal, ops


def text(opset: int, signature: str, body: str) -> str:
    ir_version = {7: 3, 9: 4, 11: 6, 13: 7, 14: 7}.get(opset, 8)
    return f'<ir_version: {ir_version}, opset_import: ["": {opset}]> g {signature} {{ {body} }}'


X2, X3, X4 = {"x": normal(4, 6)}, {"x": normal(2, 3, 4)}, {"x": normal(2, 4, 5, 5)}
F2, F3, F4 = "(float[n, 6] x) => (float[i, j] y)", "(float[n, 3, 4] x) => (float[i, j, k] y)", (
    "(float[n, 4, 5, 5] x) => (float[i, j, k, l] y)"
)  # fmt: skip
WEIGHT = "<float[6, 2] w = {1,2,3,4,5,6,7,8,9,1,2,3}, float[2] b = {0.5, 1.5}>"

# name: opset written for, text, inputs, opsets it can be taken to.
CASES: dict[str, tuple[str, Feeds, tuple[int, ...]]] = {
    "linear at 7": (
        text(7, F2 + WEIGHT, "m = Gemm(x, w, b) r = Relu(m) y = Add(r, b)"), X2, (9, 13, 18, 23)),
    "linear at 14": (
        text(14, F2 + WEIGHT, "m = MatMul(x, w) a = Add(m, b) y = Relu(a)"), X2, (7, 9, 13, 18)),
    "softmax in the middle at 11": (
        text(11, F3, "y = Softmax<axis = 1>(x)"), X3, (9, 13, 18)),
    "softmax in the middle at 13": (
        text(13, F3, "s = Softmax<axis = 1>(x) y = LogSoftmax(s)"), X3, (7, 11, 12, 18)),
    "hardmax first at 17": (text(17, F3, "y = Hardmax<axis = 0>(x)"), X3, (9, 12, 23)),
    "reductions at 18": (
        text(18, F3 + " <int64[1] a = {-1}, int64[1] e = {1}>",
             "m = ReduceMean<noop_with_empty_axes = 0>(x, a) s = ReduceSum(x, e) "
             "z = Mul(m, s) q = ReduceL2(z, e) y = ReduceMax(q)").replace("[i, j, k] y", "[1,1,1] y"),
        X3, (9, 11, 13, 15, 17, 23)),
    "a reduction of nothing at 18": (
        text(18, F3, "y = ReduceMean<noop_with_empty_axes = 1>(x)"), X3, (11, 15, 17)),
    "squeeze and unsqueeze at 17": (
        text(17, F3 + " <int64[1] a = {-1}>", "u = Unsqueeze(x, a) v = Sin(u) y = Squeeze(v, a)"),
        X3, (7, 9, 11, 13, 18, 23)),
    "split at 18": (
        text(18, F2, "a, b = Split<axis = 1, num_outputs = 2>(x) y = Mul(a, b)"),
        X2, (9, 11, 13, 17, 23)),
    "uneven split at 18": (
        text(18, F4, "a, b = Split<axis = 2, num_outputs = 2>(x) y = Concat<axis = 3>(a, a)"),
        X4, (9, 13, 17)),
    "clip, pad, slice at 13": (
        text(13, F2 + " <float l = {-0.5}, float h = {0.5}, int64[4] p = {0, 1, 2, 0}, float v = {3},"
             " int64[1] s = {1}, int64[1] e = {9223372036854775807}, int64[1] a = {-1}>",
             "c = Clip(x, l, h) d = Pad(c, p, v) y = Slice(d, s, e, a)"), X2, (7, 9, 10, 11, 18, 23)),
    "pad with axes at 18": (
        text(18, F2 + " <int64[2] p = {1, 2}, int64[1] a = {1}, float v = {0}>",
             "y = Pad(x, p, v, a)"), X2, (11, 17, 23)),
    "top and dropout at 13": (
        text(13, F2 + " <int64[1] k = {2}, float r = {0.3}>",
             "d = Dropout(x, r) y, i = TopK(d, k)"), X2, (9, 11, 18, 23)),
    "upsample at 7": (
        text(7, F4, "y = Upsample<mode = \"linear\", scales = [1.0, 1.0, 2.0, 1.5]>(x)"),
        X4, (9, 10, 11, 13, 18, 23)),
    "upsample at 9": (
        text(9, F4 + " <float[4] s = {1, 1, 2, 3}>", 'y = Upsample<mode = "nearest">(x, s)'),
        X4, (7, 10, 11, 13, 18, 23)),
    "resize at 13": (
        text(13, F4 + " <float[4] s = {1, 1, 2, 3}>",
             'y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">'
             "(x, , s)"), X4, (9, 10, 11, 18, 23)),
    "half pixels at 18": (
        text(18, F4 + " <int64[4] s = {2, 4, 7, 9}>", 'y = Resize<mode = "linear">(x, , , s)'),
        X4, (11, 13, 17, 23)),
    "norms at 9": (
        text(9, F4 + " <float[4] s = {1, 2, 3, 4}, float[4] v = {1, 1.5, 2, 3}>",
             "d = Dropout<ratio = 0.5>(x) y = BatchNormalization(d, s, s, s, v)"),
        X4, (7, 11, 13, 14, 15, 18, 23)),
    "norms at 17": (
        text(17, F4 + " <float[4] s = {1, 2, 3, 4}, float[4] v = {1, 1.5, 2, 3}, float[5] g = "
             "{1, 2, 1, 2, 1}>",
             "b = BatchNormalization(x, s, s, s, v) y = LayerNormalization(b, g)"),
        X4, (13, 16, 18, 23)),
    "groups at 18": (
        text(18, F4 + " <float[2] s = {1, 2}, float[2] b = {0.5, 0.25}>",
             "y = GroupNormalization<num_groups = 2>(x, s, b)"), X4, (17, 21, 23)),
    "groups of channels at 21": (
        text(21, F4 + " <float[4] s = {1, 2, 3, 4}>",
             "y = GroupNormalization<num_groups = 2>(x, s, s)"), X4, (13, 17, 18, 20)),
    "root mean square at 23": (
        text(23, F3 + " <float[4] s = {1, 2, 3, 4}>", "y = RMSNormalization(x, s)"),
        X3, (13, 17, 18, 22)),
    "pools and convolutions at 11": (
        text(11, F4 + " <float[2, 4, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8}>",
             "c = Conv(x, w) m = MaxPool<kernel_shape = [2, 2]>(c) "
             "y = AveragePool<kernel_shape = [2, 2]>(m)"), X4, (7, 9, 13, 18, 23)),
    "part of a shape at 17": (
        text(17, F3, "s = Shape<start = 1, end = 3>(x) t = Cast<to = 1>(s) "
             "u = ReduceMean(t) y = Mul(x, u)"), X3, (13, 14, 18)),
    "activations at 17": (
        text(17, F3, "a = HardSwish(x) b = LeakyRelu(a) c = Elu(b) y = Selu(c)"), X3, (11, 13, 23)),
    "comparisons at 17": (
        text(17, F3 + " <float z = {0}>",
             "c = GreaterOrEqual(x, z) y = Where(c, x, z)"), X3, (11, 15, 18)),
    "reshape and gather at 17": (
        text(17, F3 + " <int64[2] s = {0, -1}, int64 i = {1}, int64[3] t = {-1, 1, 4}>",
             "r = Reshape(x, s) g = Gather<axis = -1>(r, i) h = Reshape(x, t) "
             "f = Flatten<axis = -1>(x) y = Add(h, g)").replace("y = Add(h, g)", "y = Identity(h)"),
        X3, (7, 9, 13, 23)),
    "a computed gelu at 20": (text(20, F3, "y = Gelu(x)"), X3, (13, 17, 19, 23)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name, (_, _, versions) in CASES.items() for version in versions],
)
def test_numbers_stay(name: str, version: int) -> None:
    source, feeds, _ = CASES[name]
    before = model_of(source)
    after = clone(before)
    convert_opset(after, version)
    assert after.opset_imports == {"": version}
    check(after, feeds, exact=False, before=before)


LOOP = """<ir_version: 8, opset_import: ["": 17]>
g (int64 t, float[n, 3] x) => (float[n, 3] y) <bool go = {1}, int64[1] a = {-1}> {
  y = Loop(t, go, x) <body = step (int64 i, bool c, float[n, 3] v) => (bool d, float[n, 3] w) {
    d = Identity(c)
    s = Softmax<axis = 0>(v)
    r = ReduceSum(s, a)
    w = Add(v, r)
  }>
}"""


@pytest.mark.parametrize("version", [11, 12, 13, 15, 18, 21, 23])
def test_loops(version: int) -> None:
    before = model_of(LOOP)
    after = clone(before)
    convert_opset(after, version)
    trials = [{"t": np.array(rounds), "x": normal(2, 3)} for rounds in (0, 1, 3)]
    check(after, *trials, exact=False, before=before)


BRANCH = """<ir_version: 7, opset_import: ["": 13]>
g (bool c, float[n, 3, 4] x) => (float[n, 3, m] y) <int64[1] a = {2}> {
  y = If(c) <
    then_branch = t () => (float[n, 3, m] p) { p = ReduceSum(x, a) },
    else_branch = e () => (float[n, 3, m] q) { q = Softmax<axis = 1>(x) }>
}"""


@pytest.mark.parametrize("version", [11, 12, 15, 18, 23])
def test_branches(version: int) -> None:
    before = model_of(BRANCH)
    after = clone(before)
    convert_opset(after, version)
    trials = [{"c": np.array(taken), "x": normal(2, 3, 4)} for taken in (True, False)]
    check(after, *trials, exact=False, before=before)


FUNCTION = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[n, 3] x) => (float[n, 3] y) { y = own.probabilities<at = 0>(x) }
<domain: "own", opset_import: ["": 17]>
probabilities <at>(v) => (w) { w = Softmax<axis: int = @at>(v) }"""


@pytest.mark.parametrize("version", [9, 11, 13, 18, 23])
def test_functions(version: int) -> None:
    before = model_of(FUNCTION)
    after = clone(before)
    convert_opset(after, version)
    assert not after.functions
    check(after, {"x": normal(4, 3)}, exact=False, before=before)


@pytest.mark.parametrize(
    ("body", "version", "cause"),
    [
        ("y = Trilu(x)", 13, "Trilu .*: the operator is newer than opset 13"),
        ("s = Shape(x) t = ReduceSum(x, s) y = Add(x, t)", 12, "input 1 is computed"),
        ("i = Cast<to = 16>(x) j = Add(i, i) y = Cast<to = 1>(j)", 12, "bfloat16"),
        ("y = AveragePool<kernel_shape = [1], ceil_mode = 1>(x)", 9, "ceil_mode = 1 is newer"),
        ("y, z = Split<axis = 0, num_outputs = 2>(x)", 17, "axis it splits is unknown"),
    ],
)
def test_what_has_no_older_form_is_refused_by_name(body: str, version: int, cause: str) -> None:
    model = model_of(text(18, F3, body))
    with pytest.raises(Unsupported) as caught:
        convert_opset(model, version)
    assert np.any([part in caught.value.cause for part in cause.split(" .*: ")])


def test_the_last_axis_needs_no_transpose() -> None:
    model = model_of(text(13, F3, "y = Softmax<axis = 2>(x)"))
    convert_opset(model, 12)
    assert ops(model) == {"Softmax": 1}
