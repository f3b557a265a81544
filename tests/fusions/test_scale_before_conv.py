import pytest

from tests.harness import floats, rewritten

NAME = "scale_before_conv"
CONV = "Conv<pads=[1, 0, 2, 1], strides=[2, 1]>(t, w, k)"
WEIGHTS = "float[6, 4, 3, 2] w, float[6] k"


def text(
    body: str,
    constants: str,
    end: str = f"y = {CONV}",
    size: str = "b, 4, 9, 8",
    weights: str = WEIGHTS,
) -> str:
    """``body`` makes t from x, ``end`` makes y from t."""
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[{size}] x) => (float[b, o, h, v] y) <{constants}, {weights}> {{ {body} {end} }}"""


READ_TOO = f"z1 = {CONV} y = Add(z1, u)"
FEEDS = [{"x": floats(b, 4, 9, 8)} for b in (0, 1, 3)]
FACTOR = "float[4, 1, 1] c = {0.5, -1.5, 2.0, 3.0}"


@pytest.mark.parametrize(
    ("body", "constants", "operators"),
    [
        ("t = Mul(x, c)", FACTOR, ["Conv"]),
        ("t = Mul(c, x)", "float[1, 4, 1, 1] c", ["Conv"]),
        ("t = Mul(x, c)", "float c = {0.003921569}", ["Conv"]),
        ("t = Div(x, c)", FACTOR, ["Conv"]),
        ("m = Mul(x, c) t = Add(m, s)", f"{FACTOR}, float[4, 1, 1] s", ["Add", "Conv"]),
        ("m = Div(x, c) t = Add(s, m)", f"{FACTOR}, float[1] s", ["Add", "Conv"]),
        ("m = Sub(x, s) t = Mul(m, c)", f"{FACTOR}, float[4, 1, 1] s", ["Sub", "Conv"]),
        (
            "m = Mul(x, d) n = Sub(m, s) t = Div(n, c)",
            f"{FACTOR}, float[4, 1, 1] s, float d = {{0.003921569}}",
            ["Sub", "Conv"],
        ),
    ],
)
def test_what_multiplies_an_image_goes_into_the_weights(
    body: str, constants: str, operators: list[str]
) -> None:
    result = rewritten(text(body, constants), [NAME], FEEDS)
    assert result.operators == operators


@pytest.mark.parametrize("constant", ["float[4] c = {0.5, -1.5, 2.0, 3.0}", "float c = {2.0}"])
@pytest.mark.parametrize("body", ["m = Mul(x, c)", "n = Mul(x, c) m = Add(n, s)"])
def test_channels_may_stand_last(body: str, constant: str) -> None:
    source = text(
        f"{body} t = Transpose<perm=[0, 3, 1, 2]>(m)", f"{constant}, float[4] s", size="b, 9, 8, 4"
    )
    result = rewritten(source, [NAME], [{"x": floats(b, 9, 8, 4)} for b in (0, 1, 3)])
    assert result.operators == [*["Add"] * ("Add" in body), "Transpose", "Conv"]


@pytest.mark.parametrize("group", [2, 4])
def test_groups_read_their_own_channels(group: int) -> None:
    end = f"y = Conv<group={group}>(t, w)"
    source = text("t = Mul(x, c)", FACTOR, end, weights=f"float[8, {4 // group}, 3, 2] w")
    assert rewritten(source, [NAME], FEEDS).operators == ["Conv"]


def test_sounds_are_read_so_too() -> None:
    source = """<ir_version: 9, opset_import: ["": 18]>
    g (float[b, 2, 9] x) => (float[b, 5, v] y) <float[2, 1] c = {0.5, 3.0}, float[5, 2, 3] w> {
    t = Mul(x, c) y = Conv<pads=[1, 1]>(t, w) }"""
    assert rewritten(source, [NAME], [{"x": floats(b, 2, 9)} for b in (1, 2)]).operators == ["Conv"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text("t = Mul(x, c)", "float[9, 8] c"), "the factor differs within a channel"),
        (
            text("m = Mul(x, c) t = Add(m, s)", f"{FACTOR}, float[9, 1] s"),
            "the factor differs within a channel",
        ),
        (
            text("t = Mul(x, c)", "float[4, 1, 1] c", size="b, 1, 9, 8"),
            "the factor differs within a channel",
        ),
        (
            text("t = Mul(x, c)", "float[4, 1, 1] c = {0.5, 0.0, 2.0, 3.0}"),
            "a factor is zero, or far from one",
        ),
        (
            text("m = Mul(x, c) t = Sub(m, s)", "float c = {1e-30}, float s = {1e10}"),
            "a factor is zero, or far from one",
        ),
        (text("t = Mul(x, c)", "float c = {inf}"), "a factor is zero, or far from one"),
        (
            text("t = Mul(x, c) z = Conv(x, w, k) u = ReduceSum(z)", FACTOR, READ_TOO),
            "its weight is used elsewhere too",
        ),
    ],
)
def test_others_stay(source: str, reason: str) -> None:
    size = (1, 1, 9, 8) if "b, 1, 9" in source else (1, 4, 9, 8)
    assert rewritten(source, [NAME], [{"x": floats(*size)}]).reason(NAME) == reason


def test_a_scaled_image_that_others_read_stays_for_them() -> None:
    source = text("t = Mul(x, c) u = ReduceMax(t)", FACTOR, READ_TOO)
    assert "Mul" in rewritten(source, [NAME], FEEDS).operators


def test_what_the_model_computes_is_scaled_for_a_reason() -> None:
    source = text("r = Relu(x) t = Mul(r, c)", FACTOR)
    assert rewritten(source, [NAME], FEEDS).counts == {}
