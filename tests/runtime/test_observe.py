from pathlib import Path

import numpy as np

from modelkit.model import load
from modelkit.runtime.observe import inner_names, observed
from modelkit.runtime.session import Setup
from tests.models import linear_text, model_file


def test_inner_tensors_are_seen_and_the_file_stays(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    before = path.read_bytes()
    assert inner_names(load(path)) == ["m"]
    feeds = {"x": np.ones((2, 8), np.float32)}
    with observed(path, ["m"], Setup()) as session:
        (name, value), *rest = session.run(feeds).items()
    assert (name, value.shape, rest) == ("m", (2, 3), [])
    assert path.read_bytes() == before
