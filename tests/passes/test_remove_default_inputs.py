from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, operator_counts, save, validate
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_default_inputs import remove_default_inputs
from modelkit.passes.remove_unused import remove_unused
from tests.harness import floats
from tests.models import model_file, run


def cleaned(tmp_path: Path, text: str, feeds: dict[str, np.ndarray]) -> tuple[int, dict[str, int]]:
    before = model_file(tmp_path / "m.onnx", text)
    model = load(before)
    lift_constants(model)
    infer_symbols(model)
    count = remove_default_inputs(model).count
    remove_unused(model)
    validate(model)
    after = save(model, tmp_path / "after.onnx")
    for name, value in run(before, feeds).items():
        np.testing.assert_array_equal(run(after, feeds)[name], value)
    return count, operator_counts(model)


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_states_of_zeros_are_left_out(kind: str, gates: int, tmp_path: Path) -> None:
    second = ", h" if kind == "LSTM" else ""
    text = f"""<ir_version: 8, opset_import: ["": 17]> g (float[s, n, 3] x) => (float[s, d, n, 2] y)
    <float[1, {2 * gates}, 3] w, float[1, {2 * gates}, 2] r> {{
    shape = Shape<start=1, end=2>(x) one = Constant<value_ints=[1]>()
    two = Constant<value_ints=[2]>() size = Concat<axis=0>(one, shape, two)
    h = ConstantOfShape(size) y = {kind}<hidden_size=2>(x, w, r, , , h{second}) }}"""
    count, left = cleaned(tmp_path, text, {"x": floats(4, 2, 3)})
    assert count == 1 + bool(second)
    assert set(left) == {kind}


def test_biases_of_zeros_too_and_others_stay(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 3, 5, 5] x) => (float[n, 2, 5, 5] y)
    <float[2, 3, 1, 1] w, float[2, 2, 1, 1] v, float[2] b> {
    z = Constant<value_floats=[0.0, 0.0]>() c = Conv(x, w, z) y = Conv(c, v, b) }"""
    count, _ = cleaned(tmp_path, text, {"x": floats(2, 3, 5, 5)})
    assert count == 1


def test_a_state_that_comes_from_outside_stays(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[s, n, 3] x, float[1, n, 2] h) => (float[s, 1, n, 2] y)
    <float[1, 6, 3] w, float[1, 6, 2] r> { y = GRU<hidden_size=2>(x, w, r, , , h) }"""
    feeds = {"x": floats(4, 2, 3), "h": np.zeros((1, 2, 2), np.float32)}
    assert cleaned(tmp_path, text, feeds)[0] == 0
