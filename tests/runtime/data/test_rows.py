from pathlib import Path

import numpy as np
import pytest

from modelkit.runtime.data.rows import in_rows, separable
from modelkit.runtime.session import open_session
from tests.models import model_file

HEAD = """<ir_version: 8, opset_import: ["": 17]> g """
FREE = "(float[n, 3] x) => (float[n, 3] y) "


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (FREE + "{ y = Softmax<axis = 1>(x) }", True),
        (FREE + "{ y = Softmax<axis = 0>(x) }", False),
        (FREE + "<int64 a = {0}> { y = CumSum(x, a) }", False),
        ("(float[n, 3] x) => (float[1, 3] y) { y = ReduceMean<axes = [0]>(x) }", False),
        ("(float[5, 3] x) => (float[5, 3] y) { y = Relu(x) }", False),
        ("(float[n, 3] x) => (int64[n] y) { y = ArgMax<axis = 1, keepdims = 0>(x) }", True),
        ("(float[n, 3] x) => (float s) { s = ReduceSum<keepdims = 0>(x) }", False),
    ],
)
def test_only_rows_that_do_not_see_each_other_are_samples(
    tmp_path: Path, text: str, rows: bool
) -> None:
    feeds = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    with open_session(model_file(tmp_path / "m.onnx", HEAD + text), optimize=False) as session:
        assert separable(feeds, session.inputs, session.run) is rows
        assert not separable({"x": feeds["x"][:1]}, session.inputs, session.run)


@pytest.mark.parametrize(("count", "pieces"), [(1, 1), (7, 7), (512, 512), (513, 257), (2000, 500)])
def test_pieces_hold_every_row_once(count: int, pieces: int) -> None:
    feeds = {"a": np.arange(count), "b": np.arange(2 * count).reshape(count, 2)}
    found = list(in_rows(feeds))
    assert len(found) == pieces
    for name, value in feeds.items():
        np.testing.assert_array_equal(np.concatenate([each[name] for each in found]), value)
    uneven = {**feeds, "c": np.zeros(count + 1)}
    assert list(in_rows(uneven)) == [uneven]
