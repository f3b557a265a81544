from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.errors import BadInput, CannotWrite, CheckFailed, Unsupported, UsageError
from modelkit.model import history, load
from modelkit.quantize import quantize_file
from modelkit.reports import Interval, SpeedVerdict
from tests.models import linear_text, model_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(64, 256))


def test_the_default_output_stands_beside_the_input(path: Path) -> None:
    report = quantize_file(str(path), measure=False)
    assert report.written == str(path.with_name("m.int8.onnx"))
    assert (report.quantized, report.candidates) == (1, 1)
    assert report.verification.passed
    assert report.result.bytes < 0.5 * report.source.bytes
    assert history(load(Path(report.written)))[-1]["verb"] == "quantize"


def test_it_is_not_done_twice(path: Path) -> None:
    first = quantize_file(str(path), measure=False)
    before = Path(first.written).read_bytes()
    assert quantize_file(str(path), measure=False).up_to_date
    again = quantize_file(str(path), measure=False, force=True)
    assert not again.up_to_date
    assert Path(again.written).read_bytes() == before


def test_a_wrong_result_is_refused_and_nothing_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(weight: object, axis: int | None, largest: int) -> object:
        values, scale = right(weight, axis, largest)  # type: ignore[arg-type]
        return values, scale * 2

    from modelkit.quantize import weights

    right = weights.symmetric
    monkeypatch.setattr(weights, "symmetric", wrong)
    with pytest.raises(CheckFailed, match="does not compute"):
        quantize_file(str(path), measure=False)
    assert sorted(p.name for p in path.parent.iterdir()) == ["m.onnx"]


def test_a_result_that_is_slower_on_all_cores_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gate(*_: object, threads: int, **__: object) -> SpeedVerdict:
        lost = threads != 1
        ratio = 0.8 if lost else 1.5
        reason = f"slower than the source on {threads} threads" if lost else "1 thread"
        return SpeedVerdict(Interval(ratio, ratio, ratio), not lost, reason)

    monkeypatch.setattr("modelkit.deliver.usable_cores", lambda: 2)
    monkeypatch.setattr("modelkit.deliver.gate", gate)
    with pytest.raises(CheckFailed) as caught:
        quantize_file(str(path))
    told = "slower than the source on 2 threads (0.80x; on 1 thread 1.50x); --intra-op 1 keeps it"
    assert (caught.value.code, caught.value.cause[: len(told)]) == ("slower", told)
    report = quantize_file(str(path), intra_op=1)
    assert (report.options["intra_op"], report.speed.on_threads) == ("1", None)


def test_a_slower_result_is_refused(tmp_path: Path) -> None:
    # One row through a long thin layer: quantizing the activation costs more than it saves.
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 40000] x) => (float[n, 2] y)
    <float[40000, 2] w> { e = Exp(x) y = MatMul(x, w) }"""
    path = model_file(tmp_path / "m.onnx", text.replace("e = Exp(x) ", ""))
    try:
        report = quantize_file(str(path))
    except CheckFailed as error:
        assert error.code == "slower"
        assert not path.with_name("m.int8.onnx").exists()
    else:
        assert report.speed.kept


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y)
            { y = Exp(x) }""",
            CheckFailed,
            "nothing in",
        ),
        (
            """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (uint8[2] y)
            { y, s, z = DynamicQuantizeLinear(x) }""",
            BadInput,
            "quantized already",
        ),
        (
            """<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]> g (float[n, 2] x)
            => (float[n, 1] y) { y = ai.onnx.ml.LinearRegressor<coefficients=[1.0, 2.0]>(x) }""",
            Unsupported,
            "not a neural network",
        ),
    ],
)
def test_what_cannot_be_quantized_says_why(
    tmp_path: Path, text: str, kind: type[Exception], words: str
) -> None:
    path = model_file(tmp_path / "m.onnx", text)
    with pytest.raises(kind, match=words):
        quantize_file(str(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_a_bad_pattern_is_a_usage_error(path: Path) -> None:
    with pytest.raises(UsageError, match="no regular expression"):
        quantize_file(str(path), exclude=["["])


def test_a_dry_run_writes_nothing(path: Path) -> None:
    report = quantize_file(str(path), measure=False, dry_run=True)
    assert report.verification.passed
    assert report.written == ""
    assert sorted(p.name for p in path.parent.iterdir()) == ["m.onnx"]


def test_static_calibrates_checks_on_other_samples_and_remembers(path: Path) -> None:
    random = np.random.default_rng(0)
    folder = path.parent / "samples"
    folder.mkdir()
    for number in range(70):
        row = random.standard_normal((1, 64)).astype(np.float32)
        np.savez(folder / f"{number:02}.npz", x=row)
    options = {"mode": "static", "calib_data": str(folder), "measure": False}
    report = quantize_file(str(path), **options)  # type: ignore[arg-type]
    assert (report.quantized, report.candidates) == (1, 1)
    assert len(report.verification.trials) == 8
    assert "kept from calibration" in report.verification.inputs
    assert report.layers[0].sqnr > 30
    step = history(load(Path(report.written)))[-1]
    assert step["recipe"]["calib_data"] == "samples"
    assert "calibrated on 62 samples" in step["decisions"]


def test_static_with_one_file_is_not_done_twice(path: Path) -> None:
    np.savez(path.with_name("s.npz"), x=np.ones((4, 64), np.float32))
    options = {"mode": "static", "calib_data": str(path.with_name("s.npz")), "measure": False}
    quantize_file(str(path), **options)  # type: ignore[arg-type]
    assert quantize_file(str(path), **options).up_to_date  # type: ignore[arg-type]
    np.savez(path.with_name("s.npz"), x=np.zeros((4, 64), np.float32) + 0.5)
    with pytest.raises(CannotWrite):
        quantize_file(str(path), **options)  # type: ignore[arg-type]


def test_an_unknown_mode_is_a_usage_error(path: Path) -> None:
    with pytest.raises(UsageError, match="no quantization is called"):
        quantize_file(str(path), mode="eight")


@pytest.mark.parametrize(("mode", "ending"), [("int4", "int4"), ("int8-weights", "int8w")])
def test_weights_alone_are_kept_for_their_size(tmp_path: Path, mode: str, ending: str) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 256] x) => (float[n, 8] y)
    <float[256, 512] a, float[512, 8] b> { p = MatMul(x, a) r = Relu(p) y = MatMul(r, b) }"""
    path = model_file(tmp_path / "m.onnx", text)
    report = quantize_file(str(path), mode=mode)
    assert report.written == str(tmp_path / f"m.{ending}.onnx")
    assert report.verification.step == mode
    assert report.speed.ratio is None or report.speed.kept
    assert len(report.layers) == 2
    assert report.result.bytes < 0.35 * report.source.bytes
    again = quantize_file(str(path), mode=mode)
    assert again.up_to_date
    assert again.verification.step == mode


def test_four_bits_that_are_too_coarse_say_what_is_finer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelkit.runtime.compare import TOLERANCES, Tolerance

    monkeypatch.setitem(TOLERANCES, "int4", Tolerance("sqnr", 60, 1.0))
    with pytest.raises(CheckFailed, match="does not compute") as error:
        quantize_file(str(path), mode="int4", measure=False)
    assert "--calib-data" in (error.value.hint or "")
    assert sorted(p.name for p in path.parent.iterdir()) == ["m.onnx"]


@pytest.mark.parametrize("mode", ["dynamic", "int4", "int8-weights"])
def test_every_form_is_compared_on_the_inputs_given(tmp_path: Path, mode: str) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, c] x) => (float[b, 64] y)
    <float[96, 64] w> { y = MatMul(x, w) }"""
    source = str(model_file(tmp_path / "m.onnx", text))
    options: dict[str, Any] = {"mode": mode, "measure": False}
    with pytest.raises(CheckFailed, match="no generated inputs"):
        quantize_file(source, str(tmp_path / "o.onnx"), **options)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((4, 96), np.float32))
    report = quantize_file(
        source, str(tmp_path / "o.onnx"), eval_data=str(tmp_path / "x.npz"), **options
    )
    assert report.verification.inputs == "samples of x.npz"
