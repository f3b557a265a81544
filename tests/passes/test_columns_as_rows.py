import onnx_ir as ir
import pytest

from modelkit.model import Model
from modelkit.passes.columns_as_rows import columns_as_rows
from modelkit.passes.infer_symbols import infer_symbols
from tests.models import parsed
from tests.passes.harness import check, normal, ops

INPUTS = [{"x": normal(n, 4, 20, 1)} for n in (0, 1, 3)]


def text(body: str, more: str = "", x: str = "n, 4, 20, 1", y: str = "n, 4, m, 1") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[{x}] x) => (float[{y}] y)
    <float[4, 4, 5, 1] w, float[4] b, float[4, 1, 3, 1] d, float[4, 1, 1] c, float[4] v,
     int64[8] p = {{0, 0, 2, 0, 0, 0, 3, 0}}, int64[1] three = {{3}}, float low = {{0}}{more}> {{ {body} }}"""


def turned(source: str, *, trials: bool = True) -> tuple[Model, int]:
    proto = parsed(source)
    before, after = (ir.serde.deserialize_model(proto) for _ in range(2))
    infer_symbols(after)
    count = columns_as_rows(after).count
    check(after, *(INPUTS if trials else ()), exact=False, before=before)
    return after, count


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv(x, w, b)",
        "y = Conv<strides = [2, 1], dilations = [2, 1], pads = [1, 0, 4, 0]>(x, w)",
        "q = Pad(x, p) r = Conv(q, w, b) s = Relu(r) y = Conv<group = 4>(s, d)",
        "q = Conv(x, w) r = Clip(q, low) y = Conv<group = 4>(r, d)",
        "q = Conv(x, w) r = Add(q, c) s = BatchNormalization(r, b, v, b, v) y = Exp(s)",
        "q = Conv(x, w) y = MaxPool<kernel_shape = [2, 1], strides = [2, 1], pads = [1, 0, 0, 0]>(q)",
        "q = Conv<pads = [2, 0, 2, 0]>(x, w) r = Add(q, x) y = Mul(r, q)",
        "q = Conv(x, w) r = Sigmoid(q) t = Mul(q, r) y = GlobalAveragePool(t)",
    ],
)
def test_columns_are_turned_with_what_is_between(body: str) -> None:
    model, count = turned(text(body))
    assert count == 1
    (weight,) = [node for node in model.graph if node.op_type == "Conv"][:1]
    assert weight.inputs[1] is not None
    assert list(weight.inputs[1].shape or ())[2:] == [1, 5]
    found = ops(model)
    assert found["Squeeze"] == found["Unsqueeze"] == 2


def test_maps_put_together_are_one_region() -> None:
    body = (
        "q = Conv(x, w) r = Neg(q) s = Concat<axis = 1>(q, r) t = Tanh(s) y = Softmax<axis = 1>(t)"
    )
    model, count = turned(text(body, y="n, 8, m, 1"))
    assert count == 1
    assert ops(model)["Squeeze"] == 2


def test_results_and_other_readers_get_columns() -> None:
    body = "q = Conv(x, w) r = Squeeze(q, three) s = Unsqueeze(r, three) z = Relu(q) y = Add(s, z)"
    source = text(body).replace("1] y)", "1] y, float[n, 4, k, 1] z)")
    model, count = turned(source)
    assert count == 1
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ("y = Conv(x, w)", ("n, 4, 20, 1", "n, 4, 20, 2")),
        ("y = Conv<pads = [0, 1, 0, 1]>(x, w)", ("n, 4, m, 1] y", "n, 4, m, 3] y")),
        ("y = Conv(x, w)", ("4, 4, 5, 1", "4, 4, 1, 1")),
        ("a = Abs(w) y = Conv(x, a)", ("", "")),
        ("q = Conv<strides = [3, 1]>(x, w) y = Exp(q)", ("", "")),
        ('y = Conv<auto_pad = "SAME_UPPER">(x, w)', ("", "")),
    ],
)
def test_others_stay(body: str, change: tuple[str, str]) -> None:
    source = text(body)
    if change[0]:
        source = source.replace(*change).replace("m, 1] y", "m, k] y")
    _, count = turned(source, trials=not change[0])
    assert count == 0


def test_a_padding_that_the_runtime_leaves_alone_stays_one() -> None:
    model = ir.serde.deserialize_model(parsed(text("q = Pad(x, p) y = Conv(q, w)")))
    infer_symbols(model)
    (pad,) = [node for node in model.graph if node.op_type == "Pad"]
    pad.resize_inputs(3)
    assert columns_as_rows(model).count == 1
    (pad,) = [node for node in model.graph if node.op_type == "Pad"]
    assert len(pad.inputs) == 3
