from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from modelkit.model import save
from modelkit.optimize.levels import optimize
from tests.harness import floats, rewritten
from tests.models import model_file, run

NAME = "pad_before_pool"
_PADS = "int64[8] p = {0,0,1,1,0,0,2,1}"


def text(pool: str, pads: str = _PADS, body: str = "q = Pad(x, p)", kind: str = "float") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g ({kind}[b, 4, n, m] x) => ({kind}[b, 4, h, w] y) <{pads}> {{ {body} y = {pool}(q) }}"""


_MAX = "MaxPool<kernel_shape=[3, 3], strides=[2, 2]>"
_CEIL = "<kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1>"


@pytest.mark.parametrize(
    "source",
    [
        text(_MAX),
        text(_MAX, f"{_PADS}, float v = {{0.0}}", "q = Pad(x, p, v)"),
        text(_MAX, "int64[1] p", "q = Pad<pads=[0,0,1,1,0,0,2,1]>(x)").replace("17", "10"),
        text("MaxPool" + _CEIL),
        text("AveragePool" + _CEIL),
        text("MaxPool" + _CEIL, body="r = Relu(x) q = Pad(r, p)"),
        text("AveragePool<kernel_shape=[3, 3]>", "int64[8] p = {0,0,3,3,0,0,3,3}"),
        text("MaxPool<kernel_shape=[3, 3]>", "int64[8] p = {0,0,3,3,0,0,3,3}"),
        text("MaxPool<kernel_shape=[3, 3]>", body="q = Pad(x, p)", kind="float16"),
    ],
)
def test_the_runtime_computes_what_the_model_says(source: str, tmp_path: Path) -> None:
    kind = np.float16 if "float16" in source else np.float32
    feeds = [{"x": (floats(b, 4, n, 9) - 3).astype(kind)} for b, n in ((1, 9), (3, 8), (0, 7))]
    result = rewritten(source, [NAME], feeds)
    assert result.counts == {NAME: 1}
    before = model_file(tmp_path / "before.onnx", source)
    after = save(result.model, tmp_path / "after.onnx")
    session = ort.InferenceSession(after, providers=["CPUExecutionProvider"])
    for values in feeds[:2]:
        np.testing.assert_allclose(
            session.run(None, values)[0], run(before, values)["y"], atol=1e-6
        )


def test_this_runtime_still_needs_it(tmp_path: Path) -> None:
    """Where this fails the rewrite can go."""
    path = model_file(tmp_path / "m.onnx", text(_MAX))
    values = {"x": floats(1, 4, 9, 9) - 3}
    plain = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert np.abs(plain.run(None, values)[0] - run(path, values)["y"]).max() > 0.1


@pytest.mark.parametrize(
    "source",
    [
        text("AveragePool<kernel_shape=[3, 3]>"),
        text(_MAX, body="r = Relu(x) q = Pad(r, p)"),
        text(_MAX, body="r = Relu(x) q = Pad<mode='reflect'>(r, p)".replace("'", '"')),
        text(_MAX, f"{_PADS}, float v = {{-1.0}}", "q = Pad(x, p, v)"),
        text(_MAX, "int64[8] p = {0,0,-1,1,0,0,2,1}"),
    ],
)
def test_what_is_padded_rightly_is_left(source: str) -> None:
    result = rewritten(source, [NAME], [{"x": floats(2, 4, 9, 9) - 3}])
    assert result.counts == {}
    assert not result.near_misses


def test_what_was_written_is_not_written_again(tmp_path: Path) -> None:
    result = rewritten(text(_MAX), [NAME], [{"x": floats(1, 4, 9, 9) - 3}])
    assert not [each for each in optimize(result.model, level="basic").changes if each.name == NAME]
