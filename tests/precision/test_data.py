from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed
from modelkit.precision.data import HEADROOM, read
from modelkit.precision.options import Options
from tests.models import linear_text, model_file


def test_seeded_inputs_have_headroom(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(4, 4))
    evidence, proposal = read(source, Options())
    assert evidence.headroom == HEADROOM and "seeded" in evidence.origin
    assert len(evidence.samples) == len(proposal.trials) >= 2
    shapes = {feeds["x"].shape for feeds, _ in proposal.trials}
    assert len(shapes) > 1


def test_real_inputs_have_none_and_are_what_is_verified_on(tmp_path: Path) -> None:
    source = model_file(tmp_path / "m.onnx", linear_text(4, 4))
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(10):
        np.save(folder / f"{number}.npy", np.full((1, 4), number, np.float32))
    evidence, proposal = read(source, Options(calib_data=str(folder)))
    assert evidence.headroom == 1 and len(evidence.samples) == 10 and len(proposal.trials) == 8
    assert "data" in evidence.origin == proposal.source


def test_a_model_that_no_generated_input_fits_is_refused(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Sub(x, x) y = Div(a, a) }'
    with pytest.raises(CheckFailed):
        read(model_file(tmp_path / "m.onnx", text), Options())
