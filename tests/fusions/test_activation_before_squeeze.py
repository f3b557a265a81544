import pytest

from tests.harness import floats, rewritten

NAME = "activation_before_squeeze"
FEEDS = [{"x": floats(b, 4, 1, n)} for b, n in ((1, 3), (2, 1), (0, 2))]


def text(body: str, axis: int = 2) -> str:
    return f"""<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[b, 4, 1, n] x) => (float[b, 4, n] y) <int64[1] a = {{{axis}}}>
    {{ s = Squeeze(x, a) {body} }}"""


@pytest.mark.parametrize("body", ["y = Relu(s)", "y = LeakyRelu<alpha=0.1>(s)", "y = Gelu(s)"])
def test_activations_move_before_it(body: str) -> None:
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.operators[-1] == "Squeeze"
    assert result.counts == {NAME: 1}


def test_sums_of_two_images_too() -> None:
    body = "r = Abs(x) t = Squeeze(r, a) y = Add(s, t)"
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.operators == ["Abs", "Add", "Squeeze"]


def test_a_sequence_that_others_read_stays_for_them() -> None:
    body = "p = Relu(s) q = Neg(s) y = Sub(p, q)"
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.operators.count("Squeeze") == 2
    assert result.counts == {NAME: 1}


@pytest.mark.parametrize("shape", ["4, 1", "1, 4, 1", "1", ""])
@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_constants_meet_the_image(kind: str, shape: str) -> None:
    numbers = "0.5, -1.5, 2, 3" if "4" in shape else "0.5"
    source = text(f"y = {kind}(c, s)").replace(
        "int64[1] a", f"float{f'[{shape}]' if shape else ''} c = {{{numbers}}}, int64[1] a"
    )
    result = rewritten(source, [NAME], FEEDS)
    assert result.operators == [kind, "Squeeze"]


def test_constants_that_make_it_larger_are_refused() -> None:
    for shape, numbers in (
        ("4, 2", "1, 2, 3, 4, 5, 6, 7, 8"),
        ("2, 1, 4, 1", "1, 2, 3, 4, 5, 6, 7, 8"),
    ):
        body = (
            "y = Add(s, c)" if shape == "4, 2" else "t = Add(s, c) m = ReduceMax(t) y = Add(s, m)"
        )
        source = text(body).replace("int64[1] a", f"float[{shape}] c = {{{numbers}}}, int64[1] a")
        result = rewritten(source.replace("n] x", "2] x").replace("n] y", "2] y"), [NAME], [])
        assert "Squeeze" in result.operators[:2]


def test_another_axis_is_no_match() -> None:
    source = text("y = Relu(s)", axis=0).replace("float[b, 4, 1, n] x", "float[1, b, 4, n] x")
    result = rewritten(source, [NAME], [{"x": floats(1, 2, 4, 3)}])
    assert NAME not in result.counts


def test_shapes_that_differ_are_refused() -> None:
    body = "y = Add(s, t)"
    source = (
        text(body)
        .replace("n] x)", "n] x, float[b, 4, 1, 1] u)")
        .replace("{ s =", "{ t = Squeeze(u, a) s =")
    )
    result = rewritten(source, [NAME], [{**FEEDS[0], "u": floats(1, 4, 1, 1)}])
    assert result.reason(NAME) == "its operands are not known to have the same shape"
