"""The 38 graphs converters go wrong on, and the verb from file to file."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.errors import BadInput, CheckFailed, ModelkitError, UsageError
from modelkit.model import load, save, validate
from modelkit.precision import fp16, fp16_file
from modelkit.precision.convert import convert, types_of
from modelkit.precision.narrow import HALVES
from modelkit.precision.plan import Evidence, Wishes
from modelkit.precision.prepare import prepared
from modelkit.precision.simulate import simulated_file
from modelkit.runtime import metrics
from tests.models import Feeds, linear_text, model_file, run
from tests.precision import lab_cases

GOALS = {"fp16": 50.0, "bf16": 35.0}
# Whole in float, with the reason; a half that gains nothing is not forced on a model.
WHOLE = {"counted_zeros", "forest", "qdq", "tiny_weights.dynamo", "tiny_weights.torchscript"}


TWO = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 16] x) => (float[n, 16] y, float[n, 16] z) <float[16, 16] v, float[16, 16] w>
{ [first] y = MatMul(x, v)  s = Mul(x, small)  [second] z = MatMul(s, w) }"""


def two_layers(path: Path) -> Path:
    """Two layers; the second reads a thousandth of the input."""
    text = TWO.replace("w>", "w, float small = {0.001}>")
    return model_file(path, text)


def decibels(expected: Feeds, actual: Feeds) -> float:
    """The worst output; types, shapes and whole numbers must agree."""
    worst = 999.0
    assert list(expected) == list(actual)
    for name, value in expected.items():
        other = actual[name]
        assert other.dtype == value.dtype and other.shape == value.shape
        if value.dtype.kind == "f":
            assert np.isfinite(other).all()
            worst = min(worst, metrics.sqnr(*metrics.energies(value, other)))
        else:
            assert np.array_equal(value, other)
    return worst


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, Path, Feeds]:
    name = request.param
    proto = lab_cases.proto(name)
    path = tmp_path / "source.onnx"
    onnx.save(proto, path)
    return name, path, lab_cases.feeds(name, proto)


def test_the_list_is_whole() -> None:
    assert len(lab_cases.NAMES) == 38


@pytest.mark.parametrize("step", ["fp16", "bf16"])
@pytest.mark.parametrize("lab", lab_cases.NAMES, indirect=True)
def test_every_graph_of_the_lab_is_right(lab: tuple[str, Path, Feeds], step: str) -> None:
    name, path, feeds = lab
    result, done, kept = fp16(load(path), half=HALVES[step], samples=[feeds])
    validate(result)
    written = save(result, path.with_name("half.onnx"))
    onnx.checker.check_model(str(written), full_check=True)
    expected = run(path, feeds)
    simulated = simulated_file(written, path.parent)
    onnx.checker.check_model(str(simulated), full_check=True)
    assert decibels(expected, run(simulated, feeds)) >= GOALS[step]
    if step == "fp16":
        assert decibels(expected, run(written, feeds)) >= GOALS[step]
        assert (done.in_half == 0) == (name in WHOLE)
    assert done.in_half or kept
    source, half = onnx.load(path), onnx.load(written)
    for before, after in ((source.graph.input, half.graph.input), (source.graph.output, half.graph.output)):  # fmt: skip
        assert [(v.name, v.type.tensor_type.elem_type) for v in before] == [
            (v.name, v.type.tensor_type.elem_type) for v in after
        ]


@pytest.mark.parametrize("lab", ["large_rms.dynamo", "large_sums.dynamo"], indirect=True)
def test_overflow_that_the_cpu_hides_is_seen(lab: tuple[str, Path, Feeds]) -> None:
    """Both pass on ONNX Runtime's CPU provider, which is what other converters look at."""
    _, path, feeds = lab
    naive = prepared(load(path), ir.DataType.FLOAT16)
    convert(naive, types_of(naive, ir.DataType.FLOAT16))
    written = save(naive, path.with_name("naive.onnx"))
    expected = run(path, feeds)
    assert decibels(expected, run(written, feeds)) > 50
    simulated = run(simulated_file(written, path.parent), feeds)
    broken = [
        name
        for name, value in simulated.items()
        if not np.isfinite(value).all()
        or metrics.sqnr(*metrics.energies(expected[name], value)) < 10
    ]
    assert broken


def test_the_verb_halves_a_file_and_proves_it(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(256, 256))
    report = fp16_file(str(source), measure=False)
    assert report.written == str(tmp_path / "m.fp16.onnx")
    assert report.verification.passed and report.verification.tolerance == "50 dB"
    assert report.in_half == 2 and report.casts == 2
    assert report.cast_share is not None and 0 < report.cast_share < 1
    assert report.result.bytes <= 0.51 * report.source.bytes
    assert any("INT8" in note for note in report.notes)
    assert fp16_file(str(source)).up_to_date


def test_bf16_is_judged_by_its_own_goal_and_opens_nowhere_here(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(64, 64))
    report = fp16_file(str(source), step="bf16")
    assert report.written.endswith("m.bf16.onnx")
    assert report.verification.tolerance == "35 dB" and report.speed.ratio is None


def test_a_goal_that_is_missed_writes_nothing(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(64, 64))
    with pytest.raises(CheckFailed) as caught:
        fp16_file(str(source), min_sqnr=100.0, measure=False)
    assert "fp16" in caught.value.message and "--mixed" in (caught.value.hint or "")
    assert not (tmp_path / "m.fp16.onnx").exists()


def test_what_cannot_be_in_half_is_refused_with_reasons(tmp_path: Path) -> None:
    path = tmp_path / "forest.onnx"
    onnx.save(lab_cases.proto("forest"), path)
    with pytest.raises(CheckFailed) as caught:
        fp16_file(str(path))
    assert caught.value.code == "nothing-converted"
    assert "TreeEnsembleClassifier" in (caught.value.cause or "")


def test_a_model_without_floats_is_refused(tmp_path: Path) -> None:
    text = (
        '<ir_version: 8, opset_import: ["": 17]> g (int64[n] x) => (int64[n] y) { y = Add(x, x) }'
    )
    with pytest.raises(BadInput, match="nothing in float"):
        fp16_file(str(model_file(tmp_path / "m.onnx", text)))


def test_goals_that_contradict_are_refused(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(8, 8))
    with pytest.raises(UsageError, match="exclude each other"):
        fp16_file(str(source), min_sqnr=40.0, max_error=0.1)


def test_half_inputs_and_outputs_take_no_casts(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(16, 16))
    report = fp16_file(str(source), half_io=True)
    assert report.casts == 0
    model = onnx.load(report.written)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_nodes_named_by_the_user_keep_float(tmp_path: Path) -> None:
    source = two_layers(tmp_path / "m.onnx")
    report = fp16_file(str(source), keep=["^fir"], measure=False)
    assert [(skip.node, skip.reason) for skip in report.kept] == [("first", "--keep ^fir")]


def test_ranges_come_from_real_data_when_given(tmp_path: Path) -> None:
    source = two_layers(tmp_path / "m.onnx")
    np.save(tmp_path / "large.npy", np.full((4, 16), 65000, np.float32))
    report = fp16_file(str(source), calib_data=str(tmp_path / "large.npy"), measure=False)
    assert report.in_half == 2
    (skip,) = report.kept
    assert skip.node == "first" and "on samples of large.npy, half ends at 65504" in skip.reason
    assert "large.npy" in report.verification.inputs


def test_old_opsets_are_raised(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(16, 16, opset=11).replace("ir_version: 10", "ir_version: 6"))  # fmt: skip
    report = fp16_file(str(source), measure=False)
    assert report.source.opset[""] == 11 and report.result.opset[""] == 13


def test_wishes_and_evidence_are_all_a_library_user_needs(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(16, 16))
    result, done, kept = fp16(load(source), evidence=Evidence(), wishes=Wishes(half_io=True))
    assert done.casts_added == 0 and not kept
    assert result.graph.inputs[0].dtype is ir.DataType.FLOAT16


def test_a_model_that_onnx_runtime_refuses_is_no_traceback(tmp_path: Path) -> None:
    proto = lab_cases.proto("masked.torchscript")
    proto.graph.node[[node.op_type for node in proto.graph.node].index("Constant")].attribute[
        0
    ].t.data_type = onnx.TensorProto.DOUBLE
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelkitError):
        fp16_file(str(tmp_path / "m.onnx"))


def test_inputs_that_are_half_in_the_source_stay_so(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float16[n, 4] h, float[n, 4] x) => (float16[n, 4] a, float[n, 4] y) <float[4, 4] w>
    { a = Neg(h) m = MatMul(x, w) f = Cast<to = 1>(a) y = Add(m, f) }"""
    report = fp16_file(str(model_file(tmp_path / "m.onnx", text)), measure=False)
    assert report.verification.passed and report.in_half == 3
