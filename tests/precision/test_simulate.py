"""The simulator against numpy's own half arithmetic, operator by operator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from modelkit.model import load, save
from modelkit.precision.simulate import simulated, simulated_file
from tests.models import Feeds, parsed, run

f32 = np.float32
Compute = Callable[..., Any]

# Operator, its exact function; numpy computes it in float and rounds once, as simulated.
ONE: dict[str, Compute] = {
    "Abs": np.abs, "Ceil": np.ceil, "Cos": np.cos, "Exp": np.exp, "Floor": np.floor,
    "Log": lambda a: np.log(np.abs(a)), "Neg": np.negative, "Reciprocal": lambda a: 1 / a,
    "Relu": lambda a: np.maximum(a, 0), "Round": np.round, "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "Sign": np.sign, "Sin": np.sin, "Sqrt": lambda a: np.sqrt(np.abs(a)), "Tanh": np.tanh,
}  # fmt: skip
TWO: dict[str, Compute] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Max": np.maximum, "Min": np.minimum, "MatMul": np.matmul,
    "Pow": lambda a, b: np.power(np.abs(a), b),
}  # fmt: skip
EXACT = {"Abs", "Add", "Ceil", "Div", "Floor", "Max", "Min", "Mul", "Neg", "Reciprocal", "Relu",
         "Round", "Sign", "Sqrt", "Sub"}  # fmt: skip
REDUCE: dict[str, Compute] = {"ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max}


def simulate(body: str, values: list[np.ndarray], half: str, folder: Path) -> np.ndarray:
    """``y`` of a body in half, its inputs ``a`` and ``b`` given in float."""
    shape = ",".join(map(str, values[0].shape))
    names = ["a", "b"][: len(values)]
    inputs = ", ".join(f"{half}[{shape}] {name}" for name in names)
    text = f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => ({half}[?] y) {{ {body} }}'
    model = parsed(text.replace("[?]", ""))
    onnx.save(model, folder / "half.onnx")
    path = simulated_file(folder / "half.onnx", folder)
    return run(path, dict(zip(names, values, strict=True)))["y"]


def rounded(array: np.ndarray, half: str) -> np.ndarray:
    dtype = np.float16 if half == "float16" else ml_dtypes.bfloat16
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype).astype(f32)


def samples(seed: int) -> np.ndarray:
    """All magnitudes that half holds, and some that overflow when computed with."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((16, 16)) * np.exp2(random.integers(-20, 12, (16, 16)))
    return values.astype(f32)


def compare(kind: str, expected: np.ndarray, actual: np.ndarray, half: str) -> None:
    """Bit by bit where IEEE says so; else one unit in the last place."""
    if kind in EXACT:
        np.testing.assert_array_equal(actual, expected)
        return
    step = 2.0**-10 if half == "float16" else 2.0**-7
    np.testing.assert_allclose(actual, expected, rtol=step, atol=2.0**-24)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ONE)
def test_operators_of_one_value(kind: str, half: str, tmp_path: Path) -> None:
    body = f"y = {kind}(a)" if kind not in ("Log", "Sqrt") else f"c = Abs(a) y = {kind}(c)"
    a = samples(1)
    if kind == "Exp":
        a = np.clip(a, -80, 80)
    with np.errstate(all="ignore"):
        expected = rounded(ONE[kind](rounded(a, half)), half)
    compare(kind, expected, simulate(body, [a], half, tmp_path), half)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", TWO)
def test_operators_of_two_values(kind: str, half: str, tmp_path: Path) -> None:
    body = f"y = {kind}(a, b)" if kind != "Pow" else "c = Abs(a) y = Pow(c, b)"
    a, b = samples(2), samples(3)
    if kind == "Pow":
        a, b = np.clip(np.abs(a), 0.1, 8), np.clip(b, -3, 3)
    if kind == "MatMul":
        # Large products cancel; what is left of them is no matter of rounding to half.
        a, b = np.abs(a), np.abs(b)
    with np.errstate(all="ignore"):
        expected = rounded(TWO[kind](rounded(a, half), rounded(b, half)), half)
    compare(kind, expected, simulate(body, [a, b], half, tmp_path), half)


@pytest.mark.parametrize("kind", REDUCE)
def test_reductions_add_up_in_float_and_overflow_at_the_end(kind: str, tmp_path: Path) -> None:
    a = np.full((16, 16), 300.0, f32)
    actual = simulate(f"y = {kind} <keepdims = 0> (a)", [a], "float16", tmp_path)
    assert actual == rounded(REDUCE[kind](rounded(a, "float16")), "float16")
    assert np.isinf(actual) == (kind == "ReduceSum")


def test_a_chain_is_rounded_after_every_operator(tmp_path: Path) -> None:
    """Numpy in float16 step by step: what optimizers that drop the roundings do not give."""
    a = samples(4)
    body = "s = Mul(a, a) t = Add(s, a) u = Sqrt(s) y = Div(t, u)"
    with np.errstate(all="ignore"):
        h = a.astype(np.float16)
        squares = h * h
        expected = ((squares + h) / np.sqrt(squares)).astype(f32)
    actual = simulate(body, [a], "float16", tmp_path)
    assert np.isinf(actual).any() or np.isnan(actual).any()
    np.testing.assert_array_equal(actual, expected)


def test_weights_bodies_and_constants_are_simulated_too(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (bool c, float16[2] x) => (float16[2] y) {
      quarter = Constant<value_float = 0.25>() k = Cast<to = 10>(quarter)
      y = If (c) <then_branch = yes () => (float16[2] t) { s = Mul(x, w) t = Add(s, k) },
                  else_branch = no () => (float16[2] e) { e = Mul(x, k) }>
    }"""
    path = tmp_path / "m.onnx"
    model = parsed(text)
    w = np.array([1, 3], np.float16)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    onnx.save(model, path)
    copy = save(simulated(load(path)), tmp_path / "s.onnx")
    x = np.array([0.1, 2049.3], f32)
    h = x.astype(np.float16)
    k = np.float16(0.25)
    feeds = {"c": np.array(True), "x": x}
    np.testing.assert_array_equal(run(copy, feeds)["y"], (h * w + k).astype(f32))
    feeds["c"] = np.array(False)
    np.testing.assert_array_equal(run(copy, feeds)["y"], (h * k).astype(f32))


def test_outputs_left_out_are_no_obstacle(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float16[3, 2, 4] x, float16[1, 8, 4] w, float16[1, 8, 2] r) => (float16[1, 2, 2] y)
    { skipped, y = LSTM<hidden_size = 2>(x, w, r) }"""
    model = parsed(text)
    model.graph.node[0].output[0] = ""
    onnx.save(model, tmp_path / "m.onnx")
    shapes = {"x": (3, 2, 4), "w": (1, 8, 4), "r": (1, 8, 2)}
    feeds = {name: np.full(shape, 0.1, f32) for name, shape in shapes.items()}
    assert run(simulated_file(tmp_path / "m.onnx", tmp_path), feeds)["y"].dtype == f32


def test_what_is_half_in_the_source_stays_half_at_the_edges(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float16[2] h, float16[2] x) => (float16[2] y, float16[2] z) { y = Add(h, x) z = Neg(x) }"""
    source = text.replace("float16[2] x", "float[2] x").replace("float16[2] z", "float[2] z")
    source = source.replace("Add(h, x)", "Neg(h)")
    for name, each in (("m", text), ("s", source)):
        onnx.save(parsed(each), tmp_path / f"{name}.onnx")
    path = simulated_file(tmp_path / "m.onnx", tmp_path, tmp_path / "s.onnx")
    feeds: Feeds = {"h": np.array([1, 2], np.float16), "x": np.array([0.1, 0.2], f32)}
    found = run(path, feeds)
    assert found["y"].dtype == np.float16 and found["z"].dtype == f32
    np.testing.assert_array_equal(found["y"], feeds["h"] + feeds["x"].astype(np.float16))
