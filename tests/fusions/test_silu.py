from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 8)} for n in (1, 3)]
HEAD = '<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x) => (float[n, 8] y)'


def test_plain_and_scaled() -> None:
    plain = rewritten(f"{HEAD} {{ s = Sigmoid(x) y = Mul(s, x) }}", ["silu"], FEEDS)
    assert plain.operators == ["QuickGelu"]
    scaled = rewritten(
        f"{HEAD} {{ a = Constant<value_float=1.702>() m = Mul(a, x) s = Sigmoid(m)"
        " y = Mul(x, s) }",
        ["silu"],
        FEEDS,
    )
    assert abs(next(iter(scaled.model.graph)).attributes["alpha"].value - 1.702) < 1e-6


def test_behind_a_conv_it_is_left_alone() -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[n, 2, 5, 5] x) => (float[n, 3, 5, 5] y) <float[3, 2, 1, 1] w>
    { c = Conv(x, w) s = Sigmoid(c) y = Mul(c, s) }"""
    result = rewritten(text, ["silu"], [{"x": floats(1, 2, 5, 5)}])
    assert result.reason("silu") == "it follows a Conv, which ONNX Runtime fuses better"


def test_doubles_are_refused() -> None:
    text = f"{HEAD} {{ s = Sigmoid(x) y = Mul(s, x) }}".replace("float", "double")
    import numpy as np

    result = rewritten(text, ["silu"], [{"x": floats(1, 8).astype(np.float64)}])
    assert result.reason("silu") == "it is not float32"
