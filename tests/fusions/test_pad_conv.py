import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 3, 8, 7, seed=n)} for n in (1, 2)]


def text(pad: str, conv: str = "Conv<pads=[1,0,0,1]>(p, k)", opset: int = 17) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, 3, 8, 7] x) => (float[n, i, j, l] y)
    <float[6, 3, 3, 3] k, float[6] c, int64[8] a = {{0,0,1,2,0,0,0,1}}, float z = {{0}},
     float o = {{1}}, int64[8] d = {{0,0,-1,2,0,0,0,1}}, int64[8] e = {{1,0,0,0,1,0,0,0}}>
    {{ p = {pad} y = {conv} }}"""


@pytest.mark.parametrize("pad", ["Pad(x, a)", "Pad(x, a, z)"])
@pytest.mark.parametrize("conv", ["Conv<pads=[1,0,0,1]>(p, k)", "Conv<strides=[2,2]>(p, k, c)"])
def test_the_conv_pads(pad: str, conv: str) -> None:
    assert rewritten(text(pad, conv), ["pad_conv"], FEEDS).operators == ["Conv"]


@pytest.mark.parametrize("conv", ["Conv(p, k)", "Conv(p, k, c)"])
def test_pads_that_were_an_attribute(conv: str) -> None:
    source = text("Pad<pads=[0,0,1,2,0,0,0,1]>(x)", conv, opset=9)
    assert rewritten(source, ["pad_conv"], FEEDS).operators == ["Conv"]


@pytest.mark.parametrize(
    ("pad", "conv", "reason"),
    [
        ("Pad(x, a, o)", "Conv(p, k)", "the padding is not zero"),
        ('Pad<mode="edge">(x, a)', "Conv(p, k)", "the padding is not zero"),
        ("Pad(x, d)", "Conv(p, k)", "it pads, or cuts, batch or channels"),
        ("Pad(x, e)", "Conv(p, k)", "it pads, or cuts, batch or channels"),
        ("Pad(x, a)", 'Conv<auto_pad="SAME_UPPER">(p, k)', "the Conv pads by itself"),
    ],
)
def test_other_padding_is_refused(pad: str, conv: str, reason: str) -> None:
    assert rewritten(text(pad, conv), ["pad_conv"], FEEDS).reason("pad_conv") == reason


@pytest.mark.parametrize(("height", "expected"), [(31, ["Pad", "Conv"]), (29, ["Conv"])])
def test_wide_paddings_of_long_kernels_stay(height: int, expected: list[str]) -> None:
    source = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 1, 70] x) => (float[n, 2, 1, m] y)
    <float[2, 3, 1, {height}] k, int64[8] a = {{0,0,0,7,0,0,0,7}}>
    {{ p = Pad(x, a) y = Conv(p, k) }}"""
    result = rewritten(source, ["pad_conv"], [{"x": floats(2, 3, 1, 70)}])
    assert result.operators == expected
    short = source.replace("70", "71")
    found = rewritten(short, ["pad_conv"], [{"x": floats(2, 3, 1, 71)}])
    assert found.operators == ["Conv"]
