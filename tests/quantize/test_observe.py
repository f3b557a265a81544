import numpy as np
import pytest

from modelkit.errors import CheckFailed
from modelkit.quantize.observe import observe
from tests.quantize.graphs import model_of


def test_values_inside_are_seen_sample_by_sample_and_the_model_stays() -> None:
    model = model_of("(float[n] x) => (float[n] y) { a = Neg(x) y = Abs(a) }")
    seen: list[tuple[str, list[float]]] = []
    samples = [{"x": np.arange(n, dtype=np.float32)} for n in (1, 3)]
    count = observe(
        model,
        ["a", "x", "y", "a"],
        lambda: iter(samples),
        lambda n, v: seen.append((n, v.tolist())),
    )
    assert count == 2
    assert [name for name, _ in seen] == ["a", "x", "y"] * 2
    assert seen[3] == ("a", [0.0, -1.0, -2.0])
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_no_sample_is_refused() -> None:
    model = model_of("(float[n] x) => (float[n] y) { y = Abs(x) }")
    with pytest.raises(CheckFailed, match="no sample"):
        observe(model, ["x"], lambda: iter(()), lambda n, v: None)


def test_a_bad_input_is_named_as_one() -> None:
    model = model_of("(float[n] x) => (float[n] y) { y = Abs(x) }")
    samples = [{"x": np.array([np.nan], np.float32)}]
    with pytest.raises(CheckFailed, match="'x'") as caught:
        observe(model, ["x"], lambda: iter(samples), lambda n, v: None)
    assert "it is an input" in caught.value.cause


def test_an_input_that_holds_nan_is_named_itself() -> None:
    model = model_of("(float[n] x) => (float[n] y) { a = Exp(x) y = Abs(a) }")
    samples = [{"x": np.ones(2, np.float32)}, {"x": np.array([1, np.nan], np.float32)}]
    with pytest.raises(CheckFailed, match="'x' holds NaN or infinity on calibration sample 2"):
        observe(model, ["a"], lambda: iter(samples), lambda name, value: None)
    endless = [{"x": np.array([1, np.inf], np.float32)}]
    with pytest.raises(CheckFailed, match="'a' holds NaN or infinity"):
        observe(model, ["a"], lambda: iter(endless), lambda name, value: None)
