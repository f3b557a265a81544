from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, OutOfMemory
from modelkit.model import load
from modelkit.reports import Verification
from modelkit.runtime import compare
from modelkit.runtime.compare import TOLERANCES, measure, random_outputs, verify
from modelkit.runtime.feeds import propose
from modelkit.runtime.session import open_session
from tests.models import linear_text, model_file

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x)'


def checked(one: Path, two: Path, step: str = "optimize", count: int = 2) -> Verification:
    with open_session(one, optimize=False) as session:
        proposal = propose(load(one), session.run, count=count)
    return verify(one, two, step=step, proposal=proposal)


def pair(
    tmp_path: Path, first: str, second: str, outputs: str = "float[n, 4] y"
) -> tuple[Path, Path]:
    return (
        model_file(tmp_path / "1.onnx", f"{HEAD} => ({outputs}) {{ {first} }}"),
        model_file(tmp_path / "2.onnx", f"{HEAD} => ({outputs}) {{ {second} }}"),
    )


def test_equal_models_pass_with_their_shapes_told(tmp_path: Path) -> None:
    found = checked(*pair(tmp_path, "y = Exp(x)", "y = Exp(x)"))
    assert found.passed
    assert [trial.shapes["x"][1] for trial in found.trials] == [4, 4]
    assert len({tuple(trial.shapes["x"]) for trial in found.trials}) == 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("y = Abs(x)", "output 'y': relative"),
        ("a = Constant<value_float=1.0001>() e = Exp(x) y = Mul(e, a)", "relative 0.0001"),
        ("e = Exp(x) z = Sub(e, e) y = Div(z, z)", "NaN or infinity"),
        ("t = Transpose(x) e = Exp(t) y = Transpose<perm=[0,1]>(e)", "not"),
    ],
)
def test_a_wrong_result_is_refused(tmp_path: Path, other: str, words: str) -> None:
    with pytest.raises(CheckFailed, match="does not compute") as caught:
        checked(*pair(tmp_path, "y = Exp(x)", other, "float[a, b] y"))
    assert words in caught.value.cause


def test_another_output_name_or_type_is_refused(tmp_path: Path) -> None:
    one, two = pair(tmp_path, "y = Exp(x)", "y = Exp(x)")
    renamed = two.read_bytes().replace(b"\x01y", b"\x01z")
    two.write_bytes(renamed)
    with pytest.raises(CheckFailed) as caught:
        checked(one, two)
    assert "outputs are z, not y" in caught.value.cause


def test_a_result_that_does_not_run_is_refused(tmp_path: Path) -> None:
    one, two = pair(
        tmp_path, "y = Exp(x)", "s = Constant<value_ints=[7]>() y = Reshape(x, s)", "float[a, b] y"
    )
    with pytest.raises(CheckFailed, match="does not run where its source does") as caught:
        checked(one, two)
    assert "Reshape" in caught.value.cause


def test_a_result_that_needs_more_memory_is_no_wrong_one(tmp_path: Path) -> None:
    one, two = pair(
        tmp_path,
        "y = Exp(x)",
        """s = Constant<value_ints=[1, 1000000, 1000000, 1, 1]>() e = Expand(x, s)
        m = ReduceMax<keepdims=0>(e) y = Mul(x, m)""",
    )
    with pytest.raises(OutOfMemory):
        checked(one, two)


def test_what_the_runtime_itself_spoils_is_told_apart(tmp_path: Path) -> None:
    """ONNX Runtime 1.31 lets the zeros of a padding count as minus infinity in a MaxPool."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 2, 8, 8] x) => (float[n, 2, a, b] y)
    <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    e = Exp(x) m = Neg(e) q = Pad(m, p) y = MaxPool<kernel_shape=[3, 3]>(q) }"""
    path = model_file(tmp_path / "m.onnx", text)
    with pytest.raises(CheckFailed, match="does not compute") as caught:
        checked(path, path)
    assert "with ONNX Runtime's own optimizations off it computes the same" in caught.value.cause


def test_noise_is_judged_over_all_trials_together(tmp_path: Path) -> None:
    scale = "k = Constant<value_float=1.05>() e = Exp(x) y = Mul(e, k)"
    found = checked(*pair(tmp_path, "y = Exp(x)", scale), step="int8", count=6)
    assert found.worst is not None
    assert found.worst.value == pytest.approx(26.02, abs=0.05)
    assert len(found.overall) == 1
    with pytest.raises(CheckFailed):
        checked(*pair(tmp_path, "y = Exp(x)", scale.replace("1.05", "1.5")), step="int8", count=6)


def test_integers_are_judged_by_agreement() -> None:
    tolerance = TOLERANCES["int8"]
    a = np.arange(100)
    near, far = a.copy(), a.copy()
    near[:2] += 1
    far[:5] += 1
    assert measure({"i": a}, {"i": near}, tolerance)[0].passed
    assert not measure({"i": a}, {"i": far}, tolerance)[0].passed


def test_random_outputs_are_reported_never_verified(tmp_path: Path) -> None:
    text = f"{HEAD} => (float[n, 4] y, float[n, 4] z) {{ r = RandomNormalLike(x) y = Add(x, r) z = Exp(x) }}"
    path = model_file(tmp_path / "m.onnx", text)
    assert random_outputs(load(path)) == {"y"}
    found = checked(path, path)
    assert found.not_comparable == ("y",)
    assert {error.output for trial in found.trials for error in trial.errors} == {"z"}
    only = model_file(
        tmp_path / "o.onnx", f"{HEAD} => (float[n, 4] y) {{ y = RandomNormalLike(x) }}"
    )
    with pytest.raises(CheckFailed, match="nothing can be compared"):
        checked(only, only)


def test_large_outputs_go_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_SPILL_BYTES", 10)
    path = model_file(tmp_path / "m.onnx", linear_text(8, 300))
    assert checked(path, path).passed


def test_the_table_holds_every_step() -> None:
    noisy = {"fp16", "bf16", "int8", "int8-weights", "int4", "requantized"}
    assert set(TOLERANCES) == {"convert", "optimize", *noisy}
    assert str(TOLERANCES["optimize"]) == "1e-05 relative"
    assert str(TOLERANCES["int8"]) == "15 dB"
