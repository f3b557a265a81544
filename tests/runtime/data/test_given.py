from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import ModelkitError
from modelkit.runtime.data.given import CHECKED, given_proposal, given_samples
from tests.models import model_file

_TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)
{ y = Exp(x) }"""


def test_no_more_samples_than_asked_for(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", _TEXT)
    folder = tmp_path / "samples"
    folder.mkdir()
    for number in range(12):
        np.savez(folder / f"{number:02}.npz", x=np.full((1, 4), number, np.float32))
    samples, origin = given_samples(path, str(folder), most=10)
    assert [int(feeds["x"][0, 0]) for feeds in samples] == list(range(10))
    assert origin == "samples of samples"
    assert len(given_proposal(samples, origin).trials) == CHECKED


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", _TEXT)
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelkitError):
        given_samples(path, str(tmp_path / "none"), most=3)
