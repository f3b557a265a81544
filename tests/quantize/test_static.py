"""Patterns on which ONNX Runtime's own static quantizer crashes, skips or gives wrong values."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.errors import CheckFailed
from modelkit.model import load, save, validate
from modelkit.quantize.emit import Form
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.static import Calibrated, Recipe, quantize_static
from modelkit.runtime import metrics
from modelkit.runtime.session import open_session
from tests.harness import floats
from tests.models import Feeds, parsed, run

ROOT = Path(__file__).parents[2]
FORMS = {
    "qop": Form(qop=True),
    "qdq": Form(),
    "signed": Form(unsigned=False),
    "tensor": Form(qop=True, per_channel=False),
    "float bias": Form(unsigned=False, integer_bias=False),
}
LINEAR = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 32] x) => (float[n, m] y)'
W, B = "float[32, 48] w", "float[48] b"
STACK = LINEAR.replace("float[n, 32] x", "float[n, s, 32] x").replace("[n, m]", "[n, s, m]")
IMAGE = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4, 12, 12] x) => (float[n, m] y)'
CONV = "float[8, 4, 3, 3] w, float[8] b, float[16, 8] v"
HEAD = "p = GlobalAveragePool({0}) f = Flatten(p) y = Gemm<transB=1>(f, v)"

# Name to (inputs and outputs, weights, body, layers quantized).
PATTERNS: dict[str, tuple[str, str, str, int]] = {
    "plain": (STACK, W, "y = MatMul(x, w)", 1),
    "bias": (STACK, f"{W}, {B}", "p = MatMul(x, w) y = Add(b, p)", 1),
    "bias in a sum": (
        STACK, "float[32, 32] w, float[32] b", "p = MatMul(x, w) y = Sum(p, b, x)", 1,
    ),
    "gemm": (LINEAR, f"{W}, {B}", "y = Gemm(x, w, b)", 1),
    "gemm turned": (LINEAR, "float[48, 32] w, float[48] b", "y = Gemm<transB=1>(x, w, b)", 1),
    "gemm alpha beta": (LINEAR, f"{W}, {B}", "y = Gemm<alpha=0.5, beta=2.0>(x, w, b)", 1),
    "gemm scalar": (LINEAR, f"{W}, float b", "y = Gemm(x, w, b)", 1),
    "gemm one number": (LINEAR, f"{W}, float[1] b", "y = Gemm(x, w, b)", 1),
    "gemm no bias": (LINEAR, W, "y = Gemm(x, w)", 1),
    "behind transpose": (LINEAR, "float[48, 32] w", "t = Transpose(w) y = MatMul(x, t)", 1),
    "behind identity": (LINEAR, W, "t = Identity(w) y = MatMul(x, t)", 1),
    "left": (LINEAR.replace("[n, 32] x", "[5, 32] x"), "float[48, 5] w", "y = MatMul(w, x)", 1),
    "double": (
        LINEAR.replace("float[", "double["), W, "d = Cast<to=11>(w) y = MatMul(x, d)", 1,
    ),
    "half": (
        LINEAR.replace("float[", "float16["), W, "d = Cast<to=10>(w) y = MatMul(x, d)", 1,
    ),
    "old opset": (LINEAR.replace(": 17", ": 9"), f"{W}, {B}", "y = Gemm(x, w, b)", 1),
    "opset 12": (LINEAR.replace(": 17", ": 12"), W, "y = MatMul(x, w)", 1),
    "opset 21": (
        LINEAR.replace(": 17", ": 21").replace("version: 8", "version: 10"), W, "y = MatMul(x, w)", 1,
    ),
    "opset 24": (
        LINEAR.replace(": 17", ": 24").replace("version: 8", "version: 11"), W, "y = MatMul(x, w)", 1,
    ),
    "shared": (LINEAR, "float[32, 32] w", "a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", 2),
    "two readers": (
        LINEAR, f"{W}, float[32, 48] v", "a = MatMul(x, w) b = MatMul(x, v) y = Mul(a, b)", 2,
    ),
    "output read on": (
        LINEAR.replace("=> (", "=> (float[n, m] a, "), W, "a = MatMul(x, w) y = Relu(a)", 1,
    ),
    "additive mask": (
        STACK, f"{W}, float[48, 32] v, float[48] q",
        "h = MatMul(x, w) l = Constant<value_float=-3.4e38>() z = Constant<value_float=1.0>()"
        "g = Greater(q, z) o = Constant<value_float=0.0>() k = Where(g, l, o) a = Add(h, k)"
        "s = Softmax<axis=-1>(a) y = MatMul(s, v)", 2,
    ),
    "standardisation inside": (
        LINEAR, f"{W}, {B}",
        "a = Constant<value_float=0.001>() c = Constant<value_float=3.0>() s = Mul(x, a)"
        "d = Add(s, c) y = Gemm(d, w, b)", 1,
    ),
    "zero activations": (
        LINEAR, f"{W}, float[48, 8] v",
        "z = Constant<value_float=0.0>() h = MatMul(x, w) k = Mul(h, z) y = MatMul(k, v)", 2,
    ),
    "conv": (IMAGE, CONV, "c = Conv<pads=[1,1,1,1]>(x, w, b)" + HEAD.format("c"), 2),
    "conv relu": (
        IMAGE, CONV, "c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c)" + HEAD.format("r"), 2,
    ),
    "conv clip": (
        IMAGE, f"{CONV}, float lo = {{0}}, float hi = {{6}}",
        "c = Conv(x, w, b) r = Clip(c, lo, hi)" + HEAD.format("r"), 2,
    ),
    "conv no bias": (
        IMAGE, "float[8, 4, 3, 3] w, float[16, 8] v", "c = Conv(x, w) r = Relu(c)" + HEAD.format("r"), 2,
    ),
    "conv, normalization": (
        IMAGE, f"{CONV}, float[8] s, float[8] m, float[8] q",
        "a = Abs(q) c = Conv(x, w) e = BatchNormalization(c, s, b, m, a)" + HEAD.format("e"), 2,
    ),
    "residual": (
        IMAGE, f"{CONV}, float[8, 8, 3, 3] u",
        "c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, u)"
        "e = Add(r, d) k = Relu(e) q = MaxPool<kernel_shape=[2,2]>(k)" + HEAD.format("q"), 3,
    ),
    "residual sum": (
        IMAGE, f"{CONV}, float[8, 8, 3, 3] u",
        "c = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, u)"
        "e = Sum(r, d) k = Relu(e)" + HEAD.format("k"), 3,
    ),
    "depthwise": (
        IMAGE, f"{CONV}, float[8, 1, 3, 3] u, float[8] t",
        "c = Conv(x, w, b) r = Relu(c) d = Conv<group=8>(r, u, t) q = Relu(d)" + HEAD.format("q"), 3,
    ),
    "concat": (
        IMAGE, "float[8, 4, 3, 3] w, float[4, 4, 3, 3] u, float[16, 12] v",
        "c = Conv(x, w) d = Conv(x, u) e = Concat<axis=1>(c, d) r = Relu(e)" + HEAD.format("r"), 3,
    ),
    "squeeze excite": (
        IMAGE, f"{CONV}, float[8, 8, 1, 1] u",
        "c = Conv(x, w, b) p0 = GlobalAveragePool(c) d = Conv(p0, u) s = Sigmoid(d)"
        "e = Mul(c, s)" + HEAD.format("e"), 3,
    ),
    "silu": (
        IMAGE, CONV, "c = Conv(x, w, b) s = Sigmoid(c) e = Mul(c, s)" + HEAD.format("e"), 2,
    ),
    "conv1d": (
        IMAGE.replace("4, 12, 12] x", "3, l] x"),
        "float[8, 3, 9] w, float[8, 8] v", "c = Conv(x, w) p = ReduceMax<axes=[2], keepdims=0>(c)"
        "y = MatMul(p, v)", 2,
    ),
    "conv3d": (
        IMAGE.replace("4, 12, 12] x", "3, 6, 6, 6] x"),
        "float[8, 3, 3, 3, 3] w, float[16, 8] v", "c = Conv(x, w)" + HEAD.format("c"), 2,
    ),
}  # fmt: skip


def model_of(name: str) -> onnx.ModelProto:
    head, weights, body, _ = PATTERNS[name]
    return parsed(f"{head} <{weights}> {{ {body} }}")


def samples_of(name: str, count: int = 12) -> list[Feeds]:
    head = PATTERNS[name][0]
    kind = np.float64 if "double" in head else np.float16 if "float16" in head else np.float32
    made = []
    for seed in range(count):
        # Ragged lengths: each sample another one.
        shape = {"[n, s, 32] x": (1, 3 + seed, 32), "[n, 32] x": (4, 32), "[5, 32] x": (5, 32)}
        shape |= {"4, 12, 12] x": (2, 4, 12, 12), "3, l] x": (2, 3, 9 + seed)}
        shape |= {"3, 6, 6, 6] x": (1, 3, 6, 6, 6)}
        chosen = next(value for key, value in shape.items() if key in head)
        made.append({"x": floats(*chosen, seed=seed).astype(kind)})
    return made


def quantized(
    tmp_path: Path, model: onnx.ModelProto, samples: list[Feeds], recipe: Recipe
) -> tuple[Path, Outcome, Calibrated, float]:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    result, outcome, calibrated = quantize_static(load(path), lambda: iter(samples), recipe)
    validate(result)
    out = save(result, tmp_path / "out.onnx", force=True)
    signal = noise = 0.0
    with open_session(out) as session:
        for feeds in samples:
            expected, actual = run(path, feeds), session.run(feeds)
            for name, value in expected.items():
                assert value.shape == actual[name].shape
                assert value.dtype == actual[name].dtype
                energy = metrics.energies(value, actual[name])
                signal, noise = signal + energy[0], noise + energy[1]
    return out, outcome, calibrated, metrics.sqnr(signal, noise)


@pytest.mark.parametrize("form", ["qop", "qdq"])
@pytest.mark.parametrize("name", PATTERNS)
def test_each_pattern_is_quantized_and_keeps_its_values(
    tmp_path: Path, name: str, form: str
) -> None:
    recipe = Recipe(form=FORMS[form], calibration="minmax")
    _, outcome, _, sqnr = quantized(tmp_path, model_of(name), samples_of(name), recipe)
    assert (outcome.quantized, outcome.skips) == (PATTERNS[name][3], [])
    assert sqnr > 24


@pytest.mark.parametrize("form", ["signed", "tensor", "float bias"])
@pytest.mark.parametrize("name", ["bias", "residual", "conv clip", "concat"])
def test_other_forms_keep_the_values_too(tmp_path: Path, name: str, form: str) -> None:
    recipe = Recipe(form=FORMS[form], calibration="minmax")
    _, outcome, _, sqnr = quantized(tmp_path, model_of(name), samples_of(name), recipe)
    assert outcome.quantized == PATTERNS[name][3]
    assert sqnr > 18


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_operator_form_leaves_nothing_to_find(tmp_path: Path) -> None:
    recipe = Recipe(form=FORMS["qop"])
    out, *_ = quantized(tmp_path, model_of("residual"), samples_of("residual"), recipe)
    found = operators(out)
    assert found["QLinearConv"] == 2
    assert found["QLinearAdd"] == found["QLinearGlobalAveragePool"] == 1
    assert found["MatMulIntegerToFloat"] == 1
    assert not {"Conv", "Add", "Relu", "DequantizeLinear", "Gemm"} & set(found)


def test_the_portable_form_holds_standard_operators_only(tmp_path: Path) -> None:
    out, *_ = quantized(tmp_path, model_of("residual"), samples_of("residual"), Recipe())
    model = onnx.load(out)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert operators(out)["Relu"] == 0
    weights = {i.name: i.data_type for i in model.graph.initializer}
    wide = [
        n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in weights
    ]
    kinds = Counter(weights[node.input[0]] for node in wide)
    assert kinds == {onnx.TensorProto.INT8: 3, onnx.TensorProto.INT32: 2}


def test_tensorrt_gets_signed_values_zero_points_of_zero_and_float_biases(tmp_path: Path) -> None:
    recipe = Recipe(form=FORMS["float bias"])
    out, *_ = quantized(tmp_path, model_of("conv relu"), samples_of("conv relu"), recipe)
    model = onnx.load(out)
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert arrays[node.input[2]].dtype == np.int8
            assert arrays[node.input[2]] == 0
        if node.op_type == "Conv":
            assert arrays[node.input[2]].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ConvTranspose<strides=[2,2]>(x, w)", "no integer kernel"),
        ("Conv(x, w)", "model output"),
    ],
)
def test_what_stays_says_why(tmp_path: Path, name: str, reason: str) -> None:
    head = IMAGE.replace("[n, m] y", "[n, a, h, v] y")
    model = parsed(f"{head} <float[4, 4, 3, 3] w> {{ y = {name} }}")
    samples = [{"x": floats(1, 4, 12, 12)}]
    _, outcome, _, _ = quantized(tmp_path, model, samples, Recipe())
    assert (outcome.candidates, outcome.quantized) == (1, 0)
    assert reason in outcome.skips[0].reason


def test_a_bias_far_larger_than_its_weights_fits_into_its_integers(tmp_path: Path) -> None:
    model = model_of("conv")
    for initializer in model.graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        factor = {"w": 1e-6, "b": 100}.get(initializer.name, 1)
        changed = onnx.numpy_helper.from_array(
            (array * factor).astype(np.float32), initializer.name
        )
        initializer.CopyFrom(changed)
    *_, sqnr = quantized(tmp_path, model, samples_of("conv"), Recipe())
    assert sqnr > 24


def test_not_a_number_is_named_by_tensor_node_and_sample(tmp_path: Path) -> None:
    model = parsed(f"{LINEAR} <{W}> {{ l = Log(x) y = MatMul(l, w) }}")
    positive = {"x": np.abs(floats(4, 32)) + 1}
    with pytest.raises(CheckFailed, match="'l' holds NaN.*sample 2") as caught:
        quantized(tmp_path, model, [positive, {"x": -positive["x"]}], Recipe())
    assert "Log" in caught.value.cause


@pytest.mark.parametrize("activation", ["r = Relu(c)", "g = Sigmoid(c) r = Mul(c, g)"])
def test_a_stem_of_few_channels_is_float_and_what_it_makes_is_not(
    tmp_path: Path, activation: str
) -> None:
    body = f"""c = Conv<pads=[1,1,1,1]>(x, w, b) {activation} d = Conv<pads=[1,1,1,1]>(r, u)
    e = Add(r, d) k = Relu(e) {HEAD.format("k")}"""
    head = IMAGE.replace("4, 12, 12] x", "3, 12, 12] x")
    weights = f"{CONV}, float[8, 8, 3, 3] u".replace("float[8, 4", "float[8, 3")
    samples: list[Feeds] = [{"x": floats(2, 3, 12, 12, seed=seed)} for seed in range(8)]
    recipe = Recipe(form=FORMS["qop"])
    text = f"{head} <{weights}> {{ {body} }}"
    out, outcome, _, sqnr = quantized(tmp_path, parsed(text), samples, recipe)
    found = operators(out)
    assert (found["Conv"], found["QLinearConv"], found["QLinearAdd"]) == (1, 1, 1)
    assert found["QuantizeLinear"] == 1
    assert "few channels" in outcome.skips[0].reason
    assert (outcome.candidates, outcome.quantized) == (3, 2)
    assert sqnr > 24
    whole = quantized(tmp_path, parsed(text), samples, Recipe())
    assert whole[1].quantized == 3


def test_a_swish_between_convolutions_is_computed_in_float(tmp_path: Path) -> None:
    block = "s{0} = Sigmoid(c{0}) m{0} = Mul(c{0}, s{0})"
    body = f"""c1 = Conv<pads=[1,1,1,1]>(x, w, b) {block.format(1)} c2 = Conv<pads=[1,1,1,1]>(m1, u)
    {block.format(2)} a = Add(m1, m2) c3 = Conv(a, u) p = GlobalAveragePool(c3) f = Flatten(p)
    y = Gemm<transB=1>(f, v)"""
    text = f"{IMAGE} <{CONV}, float[8, 8, 3, 3] u> {{ {body} }}"
    samples: list[Feeds] = [{"x": floats(2, 4, 12, 12, seed=seed)} for seed in range(8)]
    made, kinds = {}, {}
    for form in ("qop", "qdq"):
        recipe = Recipe(form=Form(qop=form == "qop"))
        made[form] = quantized(tmp_path, parsed(text), samples, recipe)
        kinds[form] = Counter(node.op_type for node in load(made[form][0]).graph)
    counts = kinds["qop"]
    assert (counts["QLinearConv"], counts["QuickGelu"], counts["QLinearAdd"]) == (3, 2, 1)
    assert "QLinearSigmoid" not in counts
    assert "QuickGelu" not in kinds["qdq"]
    assert min(each[-1] for each in made.values()) > 24


def test_layers_in_bodies_are_counted_and_named(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (bool c, float[n, 32] x) => (float[n, 48] y) <float[32, 32] w, float[32, 48] v>
    { h = MatMul(x, w) y = If (c) <then_branch = t () => (float[n, 48] p) { p = MatMul(h, v) },
      else_branch = f () => (float[n, 48] q) { z = Relu(h) q = MatMul(z, v) }> }"""
    samples: list[Feeds] = [{"x": floats(3, 32), "c": np.array(flag)} for flag in (True, False)]
    _, outcome, _, sqnr = quantized(tmp_path, parsed(text), samples, Recipe())
    assert (outcome.candidates, outcome.quantized) == (3, 1)
    assert all("--format qop or --dynamic" in skip.reason for skip in outcome.skips)
    assert sqnr > 24
    whole = quantized(tmp_path, parsed(text), samples, Recipe(form=Form(qop=True)))
    assert (whole[1].candidates, whole[1].quantized, len(whole[1].unseen)) == (3, 3, 2)
    assert "2 layers are in bodies" in whole[1].note("at run time")[0]
    assert whole[-1] > 24


def test_an_excluded_layer_stays_in_float(tmp_path: Path) -> None:
    import re

    model = parsed(f"{LINEAR} <{W}, float[48, 8] v> {{ h = MatMul(x, w) y = MatMul(h, v) }}")
    model.graph.node[1].name = "head"
    recipe = Recipe(exclude=(re.compile("^head$"),))
    out, outcome, _, _ = quantized(tmp_path, model, samples_of("gemm"), recipe)
    assert [skip.node for skip in outcome.skips] == ["head"]
    assert "v" in {i.name for i in onnx.load(out).graph.initializer}
    recipe = Recipe(exclude_op=("MatMul",))
    assert quantized(tmp_path, model, samples_of("gemm"), recipe)[1].quantized == 0


def test_activations_with_large_channels_lose_far_less_by_smoothing(tmp_path: Path) -> None:
    text = STACK.replace("[n, s, m]", "[n, s, 16]")
    model = parsed(
        f"{text} <float[32] a, float[32] b, {W}, float[48, 16] v>"
        "{ l = LayerNormalization(x, a, b) h = MatMul(l, w) r = Relu(h) y = MatMul(r, v) }"
    )
    for initializer in model.graph.initializer:
        array = onnx.numpy_helper.to_array(initializer).copy()
        if initializer.name in "ab":
            array[3] *= 200
        if initializer.name == "w":
            array[3] /= 200
        initializer.CopyFrom(onnx.numpy_helper.from_array(array, initializer.name))
    samples = samples_of("plain")
    *_, plain = quantized(tmp_path, model, samples, Recipe(smoothing=False))
    out, _, calibrated, smoothed = quantized(tmp_path, model, samples, Recipe())
    assert smoothed > plain + 10
    assert calibrated.smoothed[0].folded
    assert operators(out)["Mul"] == sum(not each.folded for each in calibrated.smoothed)


def test_unbalanced_convolutions_lose_far_less_by_equalization(tmp_path: Path) -> None:
    model = parsed(
        f"{IMAGE} <float[8, 4, 3, 3] w, float[8] b, float[8, 8, 3, 3] u, float[16, 8] v>"
        "{ c = Conv(x, w, b) r = Relu(c) d = Conv(r, u) q = Relu(d)" + HEAD.format("q") + "}"
    )
    spread = 2.0 ** np.linspace(-6, 6, 8, dtype=np.float32)
    for initializer in model.graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        if initializer.name in "wb":
            array = array * spread.reshape(-1, *[1] * (array.ndim - 1))
        if initializer.name == "u":
            array = array / spread.reshape(1, -1, 1, 1)
        initializer.CopyFrom(
            onnx.numpy_helper.from_array(array.astype(np.float32), initializer.name)
        )
    samples = samples_of("conv")
    *_, plain = quantized(tmp_path, model, samples, Recipe(equalization=False))
    _, _, calibrated, equal = quantized(tmp_path, model, samples, Recipe())
    assert calibrated.balanced == 1
    assert equal > plain + 8


def test_the_local_correction_takes_the_mean_error_back(tmp_path: Path) -> None:
    model, samples = model_of("conv relu"), samples_of("conv relu")
    *_, without = quantized(tmp_path, model, samples, Recipe(correction=False))
    _, _, calibrated, corrected = quantized(tmp_path, model, samples, Recipe())
    assert calibrated.corrected == 2
    assert corrected > without - 0.5
    assert all(error.sqnr > 25 for error in calibrated.errors.values())


CALIBRATION = """
import sys
from pathlib import Path
from modelkit.model import load
from modelkit.quantize.static import Recipe, quantize_static
from tests.harness import floats

count = int(sys.argv[2])
samples = lambda: ({"x": floats(1, 3, 48, 48, seed=seed)} for seed in range(count))
_, outcome, _ = quantize_static(load(Path(sys.argv[1])), samples, Recipe())
assert outcome.quantized == 3
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    text = IMAGE.replace("4, 12, 12] x", "3, 48, 48] x")
    weights = "float[16, 3, 3, 3] w, float[16, 16, 3, 3] u, float[16, 8] v"
    body = "c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, u)"
    body += " p = GlobalAveragePool(d) f = Flatten(p) y = MatMul(f, v)"
    path = tmp_path / "m.onnx"
    path.write_bytes(parsed(f"{text} <{weights}> {{ {body} }}").SerializeToString())
    peaks = []
    for count in (16, 256):
        command = [sys.executable, "-c", CALIBRATION, str(path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        peaks.append(int(done.stdout))
    # Keeping the two activations of each sample would take 70 MB more.
    assert peaks[1] - peaks[0] < 12_000
