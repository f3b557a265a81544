from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, s, 256)} for n, s in ((1, 1), (2, 5))]


def text(shape: str = "256, 512", bias: str = "512") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]> g (float[n, s, 256] x) => (float[n, s, m] y)
    <float[{shape}] w, float[{bias}] b> {{ p = MatMul(x, w) y = Add(b, p) }}"""


def test_a_linear_layer_becomes_a_convolution() -> None:
    result = rewritten(text(), ["linear_as_conv"], FEEDS)
    assert result.operators == ["Unsqueeze", "Transpose", "Conv", "Transpose", "Squeeze"]


def test_without_a_bias_and_in_an_image() -> None:
    plain = text().replace("p = MatMul(x, w) y = Add(b, p)", "y = MatMul(x, w)")
    result = rewritten(plain, ["linear_as_conv"], FEEDS)
    assert result.operators == ["Unsqueeze", "Transpose", "Conv", "Transpose", "Squeeze"]
    image = text().replace("float[n, s, 256]", "float[n, h, s, 256]").replace("s, m]", "h, s, m]")
    result = rewritten(image, ["linear_as_conv"], [{"x": floats(2, 3, 5, 256)}])
    assert result.operators == ["Transpose", "Conv", "Transpose"]


def test_widths_that_do_not_fill_a_block_are_refused() -> None:
    result = rewritten(text("256, 520", "520"), ["linear_as_conv"], FEEDS)
    assert result.reason("linear_as_conv") == "its widths are not multiples of 16"


def test_a_number_as_bias_is_refused() -> None:
    result = rewritten(text(bias="1"), ["linear_as_conv"], FEEDS)
    assert result.reason("linear_as_conv") == "its bias is not a constant vector"


def test_few_weights_are_left_to_matmul() -> None:
    result = rewritten(text("256, 48", "48"), ["linear_as_conv"], FEEDS)
    reason = "its weights are so few that they stay in the cache"
    assert result.reason("linear_as_conv") == reason


def test_narrow_layers_are_left_to_matmul() -> None:
    result = rewritten(
        text("256, 512").replace("256", "64").replace("512", "4096"), ["linear_as_conv"], []
    )
    assert result.reason("linear_as_conv") == "it is narrow"
