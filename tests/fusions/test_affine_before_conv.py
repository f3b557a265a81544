import pytest

from tests.harness import floats, rewritten

NAME = "affine_before_conv"
FEEDS = [{"x": floats(n, 4, h, 5)} for n, h in ((1, 3), (2, 4), (0, 3))]


def text(
    body: str = "m = Mul(r, s) a = Add(m, c)",
    s: str = "float[4, 1, 1] s = {0.5, -1.5, 0.0, 3.0}",
    c: str = "float[1] c = {-0.25}",
    conv: str = "Conv(a, w, b)",
    weights: str = "float[6, 4, 3, 3] w, float[6] b",
) -> str:
    return f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[n, 4, h, 5] x) => (float[n, o, i, j] y) <{weights}, {s}, {c}> {{
      r = HardSwish(x) {body} y = {conv} }}"""


@pytest.mark.parametrize("conv", ["Conv(a, w, b)", "Conv(a, w)", 'Conv<auto_pad="VALID">(a, w)'])
@pytest.mark.parametrize(
    "body", ["m = Mul(r, s) a = Add(m, c)", "m = Mul(s, r) a = Add(c, m)", "a = Mul(r, s)",
             "a = Add(r, c)"],
)  # fmt: skip
@pytest.mark.parametrize("c", ["float[1] c = {-0.25}", "float[1, 4, 1, 1] c"])
def test_the_convolution_takes_the_affine_along(conv: str, body: str, c: str) -> None:
    result = rewritten(text(body, conv=conv, c=c), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == ["HardSwish", "Conv"]


def test_a_padded_convolution_takes_the_factor_alone() -> None:
    conv = "Conv<pads=[1, 1, 1, 1]>(a, w, b)"
    assert rewritten(text("a = Mul(r, s)", conv=conv), [NAME], FEEDS).counts == {NAME: 1}
    result = rewritten(text(conv=conv), [NAME], FEEDS)
    assert result.reason(NAME) == "its padding is zero, and stays so where something is added"


@pytest.mark.parametrize("group", [2, 4])
def test_groups_read_their_own_channels(group: int) -> None:
    source = text(
        conv=f"Conv<group={group}>(a, w)",
        c="float[4, 1, 1] c = {1.0, 2.0, -3.0, 4.0}",
        weights=f"float[8, {4 // group}, 3, 2] w",
    )
    assert rewritten(source, [NAME], FEEDS).counts == {NAME: 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(s="float[5] s"), "the factor or what is added differs within a channel"),
        (text(s="float s = {inf}"), "the factor or what is added is no finite number"),
        (
            text(conv="Conv(a, v, b)").replace("r = HardSwish", "v = Abs(w) r = HardSwish"),
            "it is not float32 with a constant weight",
        ),
    ],
)
def test_what_is_left(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_what_others_read_is_left() -> None:
    source = text().replace("float[6, 4, 3, 3] w", "float[6, 4, 1, 1] w")
    source = source.replace("y = Conv(a, w, b)", "z = Conv(a, w, b) u = ReduceMax(a) y = Add(z, u)")
    assert not rewritten(source, [NAME], FEEDS[:2]).counts


def test_inputs_of_the_model_are_left_to_what_prepares_them() -> None:
    source = text("a = Mul(x, s)")
    assert not rewritten(source, [NAME], FEEDS).counts
