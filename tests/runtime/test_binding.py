from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.runtime.binding import bound
from modelkit.runtime.providers import CPU
from modelkit.runtime.session import open_session
from tests.models import linear_text, model_file


def test_runs_on_new_inputs_and_checks_them(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    with open_session(path) as session:
        run = bound(session, CPU)
        for rows in (2, 2, 5):
            assert run({"x": np.ones((rows, 8), np.float32)}) == {}
        with pytest.raises(UsageError, match="float64"):
            run({"x": np.ones((2, 8))})


def test_texts_cannot_be_bound(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (string[n] x) => (string[n] y)
    { y = Identity(x) }"""
    with open_session(model_file(tmp_path / "m.onnx", text)) as session:
        run = bound(session, CPU)
        with pytest.raises(UsageError, match="'x' is text"):
            run({"x": np.array(["a", "b"], object)})
