import pytest

from tests.harness import floats, rewritten

NAME = "linear_beside_conv"
BEFORE = """t = Transpose<perm=[0, 2, 1]>({rows}) s = Constant<value_ints=[0, {wide}, 7, 8]>()
    i = Reshape(t, s) c = Conv<pads=[1, 1, 1, 1], group={wide}>(i, d)"""
BEHIND = """r = Constant<value_ints=[0, {wide}, 56]>() f = Reshape(c, r)
    l = Transpose<perm=[0, 2, 1]>(f)"""
FEEDS = [{"x": floats(b, 56, 32)} for b in (0, 1, 3)]


def text(body: str, *, wide: int = 48, out: str = "float[b, 56, 16] y") -> str:
    body = body.replace("{wide}", str(wide))
    return f"""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[b, 56, 32] x) => ({out})
    <float[32, {wide}] w, float[{wide}] v, float[{wide}, 1, 3, 3] d, float[{wide}, 16] u,
     float[16] z> {{ {body} }}"""


def mixed(activation: str = "Gelu(l)", last: str = "Add(o, z)", first: str = "Add(m, v)") -> str:
    return f"""m = MatMul(x, w) a = {first} {BEFORE.replace("{rows}", "a")} {BEHIND}
    g = {activation} o = MatMul(g, u) y = {last}"""


@pytest.mark.parametrize("activation", ["Gelu(l)", "Relu(l)", "com.microsoft.QuickGelu(l)"])
def test_both_layers_and_what_is_between_them_stay_images(activation: str) -> None:
    result = rewritten(text(mixed(activation)), [NAME], FEEDS)
    assert result.counts == {NAME: 2}
    kind = activation.split("(")[0].split(".")[-1]
    expected = ["Reshape", "Transpose", "Conv", "Conv", kind, "Conv", "Transpose", "Reshape"]
    assert result.operators == expected


def test_layers_without_biases_and_without_an_activation() -> None:
    source = text(mixed("Identity(l)", "Identity(o)", "Identity(m)"))
    for name, before in (("g", "l"), ("y", "o"), ("a", "m")):
        source = source.replace(f"{name} = Identity({before})", "")
    source = source.replace("MatMul(g, u)", "MatMul(l, u)").replace("Transpose<perm=[0, 2, 1]>(a)",
        "Transpose<perm=[0, 2, 1]>(m)").replace("o = MatMul", "y = MatMul")  # fmt: skip
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 2}
    assert "MatMul" not in result.operators


def test_an_image_that_others_read_too_stays() -> None:
    body = mixed().replace("f = Reshape(c, r)", "e = Add(c, i) f = Reshape(e, r)")
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.counts == {}


def test_rows_that_others_read_too_stay() -> None:
    result = rewritten(text(mixed("Mul(l, k)").replace("g =", "k = Sigmoid(l) g =")), [NAME], FEEDS)
    assert result.counts == {NAME: 1}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(mixed(), wide=40), "its widths are not multiples of 16"),
        (
            text(mixed().replace("0, {wide}, 7, 8]", "0, {wide}, 4, 8]")
                 .replace("56]", "32]")).replace("float[b, 56,", "float[b, 32,"),
            "its map is not known to have 49 pixels",
        ),
    ],
)  # fmt: skip
def test_others_are_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert reason in result.reason(NAME)
    assert result.counts == {}
