from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.convert.attempts import first_right, refuse_training
from modelkit.convert.export_errors import NO_OPERATOR
from modelkit.convert.source import Options, Route, Source
from modelkit.deliver import Delivery, Terms
from modelkit.errors import CheckFailed, ModelkitError, Unsupported
from modelkit.model import InputSpec, Model, history, load, read_inputs
from modelkit.reports import Attempt
from modelkit.runtime.session import Feeds
from tests.models import linear_text, parsed

X = InputSpec("x", "float32", ("batch", 3))
PROTO = parsed(linear_text(3, 2))
WEIGHTS = {t.name: ir.from_proto(t).numpy() for t in PROTO.graph.initializer}


def right() -> Model:
    model: Model = ir.from_proto(PROTO)
    return model


def wrong() -> Model:
    model = right()
    node = next(node for node in model.graph if node.op_type == "Add")
    node.op_type = "Sub"
    return model


def refusing() -> Model:
    raise Unsupported("torch's tracing: no", cause="an operator", hint="replace it")


def reference(feeds: Feeds) -> Feeds:
    return {"y": feeds["x"] @ WEIGHTS["w"] + WEIGHTS["b"]}


def attempt(
    folder: Path, *routes: Route, opset: int | None = None, verify: bool = True
) -> tuple[Delivery, Model, tuple[Attempt, ...], tuple[str, ...]]:
    source = Source("PyTorch", reference, (X,), routes)
    return first_right(
        source, "net.pt", folder / "m.onnx", Terms(verify=verify, measure=False),
        recipe={}, digest="d", options=Options(opset=opset),
    )  # fmt: skip


def test_the_first_right_result_is_written_and_every_attempt_told(tmp_path: Path) -> None:
    fixed = (InputSpec("x", "float32", (2, 3)),)
    routes = (Route("a", refusing), Route("b", wrong), Route("c", right, fixed, "axes are fixed"))
    delivery, _, attempts, notes = attempt(tmp_path, *routes)
    assert [a.route for a in attempts] == ["a", "b", "c"]
    assert "an operator" in attempts[0].outcome
    assert "relative" in attempts[1].outcome
    assert attempts[2].outcome == "verified"
    assert notes == ("axes are fixed",)
    written = load(Path(delivery.written))
    assert read_inputs(written) == fixed
    assert history(written)[-1]["decisions"][2] == "c: verified"


def test_paddings_that_the_runtime_would_misread_are_kept_and_told(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 1, 7, 7] x) => (float[n, 1, 3, 3] y)
    <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    e = Exp(x) m = Neg(e) q = Pad(m, p) y = MaxPool<kernel_shape=[3, 3], strides=[3, 3]>(q) }"""

    def outer(feeds: Feeds) -> Feeds:
        padded = np.pad(-np.exp(feeds["x"]), ((0, 0), (0, 0), (1, 1), (1, 1)))
        return {"y": padded.reshape(-1, 1, 3, 3, 3, 3).max((3, 5))}

    source = Source(
        "PyTorch",
        outer,
        (InputSpec("x", "float32", ("n", 1, 7, 7)),),
        (Route("a", lambda: ir.from_proto(parsed(text))),),
    )
    delivery, _, _, notes = first_right(
        source, "net.pt", tmp_path / "m.onnx", Terms(measure=False),
        recipe={}, digest="d", options=Options(),
    )  # fmt: skip
    assert delivery.verification.passed
    assert len(notes) == 1
    assert notes[0].startswith("1 padding before a pooling is by the smallest number above zero")


def test_a_wrong_result_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        attempt(tmp_path, Route("a", wrong))
    assert caught.value.code == "outputs-differ"
    assert list(tmp_path.iterdir()) == []


def test_when_all_ways_fail_each_is_told_and_wrong_numbers_count_most(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        attempt(tmp_path, Route("a", refusing), Route("b", wrong))
    assert caught.value.message.startswith("net.pt could not be converted")
    assert "a: an operator" in caught.value.cause
    assert "b: output 'y'" in caught.value.cause


def test_fixed_axes_are_not_tried_for_a_missing_operator(tmp_path: Path) -> None:
    def missing() -> Model:
        raise Unsupported("no form", cause="aten::zeta", code=NO_OPERATOR)

    routes = (Route("a", missing), Route("b", missing), Route("c", right, (X,), "fixed"))
    with pytest.raises(Unsupported) as caught:
        attempt(tmp_path, *routes)
    assert caught.value.cause == "a and b: aten::zeta"


def test_without_proof_nothing_is_called_verified(tmp_path: Path) -> None:
    delivery, model, attempts, _ = attempt(tmp_path, Route("a", wrong), verify=False)
    assert attempts[0].outcome == "not verified"
    assert "not verified" in history(model)[-1]["decisions"][0]
    assert delivery.verification.skipped


def test_the_opset_is_honoured_or_refused(tmp_path: Path) -> None:
    _, model, _, _ = attempt(tmp_path, Route("a", right), opset=17)
    assert model.opset_imports[""] == 17
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(Unsupported):
        attempt(tmp_path, Route("a", right), opset=99)


TRAINING = """<ir_version: 10, opset_import: ["": 20]>
net (float[n, 3] x) => (float[n, 3] y)
<float r = {0.5}, bool t = {%d}> { y = Dropout(x, r, t) }"""

NORMAL = """<ir_version: 10, opset_import: ["": 20]>
net (float[n, 3] x, float[3] s) => (float[n, 3] y)
{ y, m, v = BatchNormalization<training_mode = 1>(x, s, s, s, s) }"""


@pytest.mark.parametrize("text", [TRAINING % 1, NORMAL])
def test_training_mode_is_refused(text: str) -> None:
    with pytest.raises(CheckFailed, match="training mode"):
        refuse_training(ir.from_proto(parsed(text)))


def test_dropout_that_is_off_is_fine() -> None:
    refuse_training(ir.from_proto(parsed(TRAINING % 0)))
    refuse_training(right())


def test_errors_of_other_kinds_end_the_attempts(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(ModelkitError) as caught:
        attempt(tmp_path, Route("a", right), Route("b", right))
    assert caught.value.exit_code == 9
    np.testing.assert_equal((tmp_path / "m.onnx").read_bytes(), b"x")
