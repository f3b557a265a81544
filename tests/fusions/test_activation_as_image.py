import pytest

from tests.harness import floats, rewritten

ROWS = "t{0} = Transpose<perm=[0,2,3,1]>({0}) {0}r = Squeeze(t{0}, zero)"
FEEDS = [{"a": floats(1, 16, b, s), "c": floats(1, 16, b, s, seed=1)} for b, s in ((1, 1), (2, 5))]


def text(body: str, rows: str = ROWS, out: str = "float[b, s, 16] y") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[1, 16, b, s] a, float[1, 16, b, s] c) => ({out})
    {{ zero = Constant<value_ints=[0]>() {rows.format("a")} {rows.format("c")} {body} }}"""


@pytest.mark.parametrize(
    "call",
    [
        "Gelu(ar)",
        'Gelu<approximate="tanh">(ar)',
        "Relu(ar)",
        "Tanh(ar)",
        "HardSigmoid<alpha=0.25, beta=0.4>(ar)",
        "com.microsoft.QuickGelu<alpha=1.0>(ar)",
    ],
)
def test_an_activation_is_computed_in_the_image(call: str) -> None:
    result = rewritten(text(f"y = {call}"), ["activation_as_image"], FEEDS)
    assert result.operators[-2:] == ["Transpose", "Squeeze"]
    assert result.counts == {"activation_as_image": 1}


def test_a_gate_too() -> None:
    result = rewritten(text("y = Mul(ar, cr)"), ["activation_as_image"], FEEDS)
    assert result.operators == ["Mul", "Transpose", "Squeeze"]


def test_rows_of_a_matrix() -> None:
    source = text("y = Tanh(ar)", out="float[s, 16] y").replace("ints=[0]", "ints=[0, 1]")
    inputs = [{"a": floats(1, 16, 1, s), "c": floats(1, 16, 1, s)} for s in (0, 1, 5)]
    source = source.replace("16, b, s]", "16, 1, s]")
    result = rewritten(source, ["activation_as_image"], inputs)
    assert result.operators[-2:] == ["Transpose", "Squeeze"]
    assert result.counts == {"activation_as_image": 1}


def test_operands_squeezed_differently_are_refused() -> None:
    source = text("y = Mul(ar, cr)", out="float[u, v, 16] y").replace(
        "Squeeze(tc, zero)", "Squeeze(tc, one)"
    )
    source = source.replace("{ zero", "{ one = Constant<value_ints=[1]>() zero")
    source = source.replace("16, b, s]", "16, 1, 1]")
    result = rewritten(source, ["activation_as_image"], [])
    reason = "its operands are not known to have the same layout and shape"
    assert result.reason("activation_as_image") == reason


def test_images_given_as_such() -> None:
    rows = "{0}r = Transpose<perm=[0,2,3,1]>({0})"
    source = text("y = Gelu(ar)", rows, out="float[1, b, s, 16] y")
    result = rewritten(source, ["activation_as_image"], FEEDS)
    assert result.operators == ["Gelu", "Transpose"]


def test_operands_of_other_shapes_are_refused() -> None:
    source = text("y = Mul(ar, cr)").replace("16, b, s] c", "16, 1, s] c")
    inputs = {"a": floats(1, 16, 2, 5), "c": floats(1, 16, 1, 5)}
    result = rewritten(source, ["activation_as_image"], [inputs])
    reason = "its operands are not known to have the same layout and shape"
    assert result.reason("activation_as_image") == reason


def test_rows_that_others_read_are_refused() -> None:
    source = text("y = Relu(ar) z = Neg(ar)", out="float[b, s, 16] y, float[b, s, 16] z")
    result = rewritten(source, ["activation_as_image"], FEEDS)
    assert result.reason("activation_as_image") == "'ar' is read elsewhere too"
