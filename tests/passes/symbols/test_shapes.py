import pytest

from modelkit.passes.infer_symbols import infer_symbols
from tests.passes.harness import model_of

CONSTANTS = """<int64[1] v0 = {0}, int64[1] v1 = {1}, int64[1] v2 = {2}, int64 depth = {9},
 int64[1] big = {9999999999}, int64[2] two = {1, 2}, int64[3] flat = {0, -1, 6},
 int64[2] merge = {-1, 12}, int64[6] pads = {0, 1, 0, 0, 1, 0}, int64[3] times = {1, 2, 3},
 int64[5] ids = {0, 1, 2, 3, 4}, float f = {0.5}, float[2] onoff = {0.0, 1.0},
 int64[4] wide = {2, 1, 1, 1}>"""


def shape_of(*lines: str) -> str:
    """The shape of ``r`` after ``lines``: x is [batch, seq, 12], z is [batch, total, 12]."""
    body = "\n".join(lines)
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[batch, seq, 12] x, float[batch, total, 12] z, int64[batch, seq] i) => (float y)
        {CONSTANTS} {{
          {body}
          y = Identity(r)
        }}"""
    )
    infer_symbols(model)
    value = next(v for node in model.graph for v in node.outputs if v.name == "r")
    return str(value.shape)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("r = Relu(x)", "[batch,seq,12]"),
        ("r = Add(x, f)", "[batch,seq,12]"),
        ("t = Transpose<perm = [0, 2, 1]>(z)\nr = MatMul(x, t)", "[batch,seq,total]"),
        ("r = Concat<axis = 1>(x, z)", "[batch,seq + total,12]"),
        ("r = Slice(x, v0, big, v1)", "[batch,seq,12]"),
        ("r = Slice(x, v1, v2, v2)", "[batch,seq,1]"),
        ("r = Pad(x, pads)", "[batch,seq + 2,12]"),
        ("r = Tile(x, times)", "[batch,2*seq,36]"),
        ("r = ReduceMean<axes = [1]>(x)", "[batch,1,12]"),
        ("r = ReduceSum<keepdims = 0>(x, v1)", "[batch,12]"),
        ("r = ReduceMax(x)", "[1,1,1]"),
        ("r = ArgMax<axis = 1, keepdims = 0>(x)", "[batch,12]"),
        ("r = Gather<axis = 2>(x, ids)", "[batch,seq,5]"),
        ("r = Gather<axis = 1>(x, i)", "[batch,batch,seq,12]"),
        ("r = Expand(x, wide)", "[2,batch,seq,12]"),
        ("s = Shape(x)\nr = ConstantOfShape(s)", "[batch,seq,12]"),
        ("s = Shape(z)\nq = Slice(s, v1, v2)\ne = Concat<axis = 0>(v1, q, v1)\n"
         "r = Expand(f, e)", "[1,total,1]"),
        ("r = OneHot(i, depth, onoff)", "[batch,seq,9]"),
        ("r = Softmax(x)", "[batch,seq,12]"),
        ("r = Shape(x)", "[3]"),
        ("r = Size(x)", "[]"),
        ("r = GatherND(x, two)", "[12]"),
        ("r = GatherElements<axis = 1>(x, i)", "[batch,seq]"),
    ],
)  # fmt: skip
def test_shapes(line: str, expected: str) -> None:
    assert shape_of(line) == expected


def test_two_names_may_differ_so_neither_is_the_answer() -> None:
    assert shape_of("r = Add(x, z)") == "[batch,unk_0,12]"


def test_a_dim_wins_over_the_smaller_of_it_and_a_table() -> None:
    table = "t = ConstantOfShape(rows)\nc = Shape(i)\nn = Slice(c, v1, v2)\np = Slice(t, v0, n, v1)"
    assert (
        shape_of("rows = Constant<value_ints = [1, 512, 12]>()\n" + table + "\nr = Add(x, p)")
        == "[batch,seq,12]"
    )
