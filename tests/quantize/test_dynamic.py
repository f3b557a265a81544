"""Each pattern on which ONNX Runtime's own quantizer crashes, or skips a layer silently."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import load, save
from modelkit.quantize import quantize
from modelkit.quantize.outcome import Outcome
from modelkit.runtime import metrics
from tests.harness import floats
from tests.models import Feeds, model_file, parsed, run
from tests.quantize.lab_patterns import MERGED

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 32] x) => (float[n, m] y)'
W = "float[32, 48] w"
X = {"x": floats(5, 32)}

# Name to (inputs and outputs, weights, body, layers quantized).
PATTERNS: dict[str, tuple[str, str, str, int]] = {
    "plain": (HEAD, W, "y = MatMul(x, w)", 1),
    "bias": (HEAD, f"{W}, float[48] b", "p = MatMul(x, w) y = Add(p, b)", 1),
    "bias first": (HEAD, f"{W}, float[48] b", "p = MatMul(x, w) y = Add(b, p)", 1),
    "gemm": (HEAD, f"{W}, float[48] b", "y = Gemm(x, w, b)", 1),
    "gemm turned": (HEAD, "float[48, 32] w, float[48] b", "y = Gemm<transB=1>(x, w, b)", 1),
    "gemm alpha beta": (HEAD, f"{W}, float[48] b", "y = Gemm<alpha=0.5, beta=2.0>(x, w, b)", 1),
    "gemm number": (HEAD, f"{W}, float[1] b", "y = Gemm(x, w, b)", 1),
    "gemm scalar": (HEAD, f"{W}, float b", "y = Gemm(x, w, b)", 1),
    "gemm row": (HEAD, f"{W}, float[1, 48] b", "y = Gemm(x, w, b)", 1),
    "gemm column": (HEAD, f"{W}, float[5, 1] b", "y = Gemm<beta=0.5>(x, w, b)", 1),
    "gemm no bias": (HEAD, W, "y = Gemm(x, w)", 1),
    "behind transpose": (HEAD, "float[48, 32] w", "t = Transpose(w) y = MatMul(x, t)", 1),
    "behind identity": (HEAD, W, "t = Identity(w) y = MatMul(x, t)", 1),
    "behind cast": (HEAD, W, "h = Cast<to=10>(w) t = Cast<to=1>(h) y = MatMul(x, t)", 1),
    "behind reshape": (
        HEAD, "float[48, 32] w",
        "s = Constant<value_ints=[32, 48]>() t = Reshape(w, s) y = MatMul(x, t)", 1,
    ),
    "shared": (HEAD, "float[32, 32] w", "a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", 2),
    "one input, two layers": (
        HEAD, f"{W}, float[32, 48] v", "a = MatMul(x, w) b = MatMul(x, v) y = Mul(a, b)", 2,
    ),
    "left": (
        HEAD.replace("float[n, 32] x", "float[5, 32] x"), "float[48, 5] w", "y = MatMul(w, x)", 1,
    ),
    "three axes": (
        HEAD.replace("float[n, 32] x", "float[3, n, 32] x").replace("[n, m]", "[3, n, m]"),
        "float[3, 32, 48] w", "y = MatMul(x, w)", 1,
    ),
    "double": (HEAD.replace("float", "double"), "", "w2 = Cast<to=11>(w) y = MatMul(x, w2)", 1),
    "half": (HEAD.replace("float", "float16"), "", "w2 = Cast<to=10>(w) y = MatMul(x, w2)", 1),
    "output read twice": (
        HEAD, f"{W}, float[48] b", "p = MatMul(x, w) q = Add(p, b) y = Mul(p, q)", 1,
    ),
    "old opset": (HEAD.replace('"": 17', '"": 10'), W, "y = MatMul(x, w)", 1),
    "opset 12": (HEAD.replace('"": 17', '"": 12'), W, "y = MatMul(x, w)", 1),
    "opset 21": (HEAD.replace('"": 17', '"": 21'), W, "y = MatMul(x, w)", 1),
}  # fmt: skip


def text_of(name: str) -> str:
    head, weights, body, _ = PATTERNS[name]
    weights = weights or "float[32, 48] w"
    return f"{head} <{weights}> {{ {body} }}"


def quantized(
    tmp_path: Path, model: onnx.ModelProto, feeds: Feeds, **options: object
) -> tuple[Outcome, float]:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    result, outcome = quantize(load(path), **options)  # type: ignore[arg-type]
    out = save(result, tmp_path / "out.onnx", force=True)
    expected, actual = run(path, feeds), run(out, feeds)
    worst = min(
        metrics.sqnr(*metrics.energies(value, actual[name])) for name, value in expected.items()
    )
    for name, value in expected.items():
        assert value.shape == actual[name].shape
        assert value.dtype == actual[name].dtype
    return outcome, worst


def feeds_of(name: str) -> Feeds:
    if name == "three axes":
        return {"x": floats(3, 5, 32)}
    kinds = {"double": np.float64, "half": np.float16}
    return {"x": X["x"].astype(kinds.get(name, np.float32))}


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("per_channel", [True, False], ids=["channel", "tensor"])
def test_a_pattern_is_quantized_and_right(tmp_path: Path, name: str, per_channel: bool) -> None:
    model = parsed(text_of(name))
    outcome, sqnr = quantized(tmp_path, model, feeds_of(name), per_channel=per_channel)
    assert (outcome.quantized, outcome.skips) == (PATTERNS[name][3], [])
    assert sqnr > 28


def test_unsigned_weights_are_right_too(tmp_path: Path) -> None:
    outcome, sqnr = quantized(tmp_path, parsed(text_of("bias")), X, weight_type="uint8")
    assert outcome.quantized == 1
    assert sqnr > 30


def test_stale_value_info_does_no_harm(tmp_path: Path) -> None:
    model = parsed(text_of("gemm turned"))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("w", 1, [48, 32]))
    assert quantized(tmp_path, model, X)[0].quantized == 1


def test_bodies_and_functions_are_quantized(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "loc": 1]>
    g (bool c, float[n, 32] x) => (float[n, 48] y) <float[32, 48] w>
    { y = If (c) <then_branch = t () => (float[n, 48] p) { p = MatMul(x, w) },
      else_branch = f () => (float[n, 48] q) { q = loc.linear(x, w) }> }
    <domain: "loc", opset_import: ["": 17]> linear (a, b) => (z) { z = MatMul(a, b) }"""
    model = parsed(text)
    for flag in (True, False):
        outcome, sqnr = quantized(tmp_path, model, {**X, "c": np.array(flag)})
        assert outcome.quantized == 2
        assert sqnr > 30


def test_an_embedding_keeps_one_scale_a_row(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (int64[b, s] i) => (float[b, s, 64] y)
    <float[400, 64] t> { y = Gather(t, i) }"""
    feeds = {"i": np.array([[0, 399, 7]])}
    outcome, sqnr = quantized(tmp_path, parsed(text), feeds)
    assert outcome.quantized == 1
    assert sqnr > 40
    assert (tmp_path / "out.onnx").stat().st_size < 0.4 * (tmp_path / "m.onnx").stat().st_size


def test_a_linear_layer_written_as_convolution_is_turned_back(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[n, s, 32] x) => (float[n, s, 48] y)
    <float[48, 32, 1, 1] w, float[48] b> { ax = Constant<value_ints=[1]>()
    u = Unsqueeze(x, ax) t = Transpose<perm=[0,3,1,2]>(u) c = Conv<kernel_shape=[1,1]>(t, w, b)
    r = Transpose<perm=[0,2,3,1]>(c) y = Squeeze(r, ax) }"""
    outcome, sqnr = quantized(tmp_path, parsed(text), {"x": floats(2, 5, 32)})
    assert (outcome.quantized, outcome.skips) == (1, [])
    assert sqnr > 30


@pytest.mark.parametrize(
    ("head", "weights", "body", "reason"),
    [
        (
            HEAD.replace("float[n, 32] x", "float[n, 2, 9, 9] x").replace("[n, m]", "[n, 8, h, v]"),
            "float[8, 2, 3, 3] w", "y = Conv(x, w)", "5-8x slower",
        ),
        (
            HEAD, "float[32, 32] w", 'y = Einsum<equation="ij,ij->i">(x, w)', "no plain product",
        ),
        (
            HEAD.replace("float[n, 32] x", "float[32, n] x"), W, "y = Gemm<transA=1>(x, w)",
            "its activation is transposed",
        ),
    ],
)  # fmt: skip
def test_what_stays_is_reported_with_the_reason(
    tmp_path: Path, head: str, weights: str, body: str, reason: str
) -> None:
    path = model_file(tmp_path / "m.onnx", f"{head} <{weights}> {{ {body} }}")
    _, outcome = quantize(load(path))
    assert (outcome.candidates, outcome.quantized) == (1, 0)
    assert reason in outcome.skips[0].reason


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    model = parsed(text_of("plain"))
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    _, outcome = quantize(load(path))
    assert outcome.skips[0].reason == "its weights hold NaN or infinity"


def test_exclusions_are_obeyed_and_reported(tmp_path: Path) -> None:
    body = "[keep_me] a = MatMul(x, w) r = Relu(a) [other] y = MatMul(r, w)"
    path = model_file(tmp_path / "m.onnx", f"{HEAD} <float[32, 32] w> {{ {body} }}")
    _, outcome = quantize(load(path), exclude=("^keep",))
    assert (outcome.quantized, outcome.skips[0].node) == (1, "keep_me")
    _, outcome = quantize(load(path), exclude_op=("MatMul",))
    assert outcome.quantized == 0


def test_the_original_stays_as_it_was(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", text_of("bias")))
    quantize(model)
    assert [node.op_type for node in model.graph] == ["MatMul", "Add"]


def test_a_weight_that_two_branches_read_is_kept_once(tmp_path: Path) -> None:
    feeds = {"i": np.array([0, 299, 7]), "c": np.array(False)}
    outcome, sqnr = quantized(tmp_path, parsed(MERGED), feeds)
    assert outcome.quantized == 6
    assert sqnr > 30
    assert (tmp_path / "out.onnx").stat().st_size < 0.4 * (tmp_path / "m.onnx").stat().st_size
