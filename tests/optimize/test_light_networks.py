"""The networks that come with onnx: nobody here wrote them, and their files are of opset 9."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.model import load, save, validate
from modelkit.optimize import optimize
from tests.models import run

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = sorted(FOLDER.glob("light_*.onnx"))


def test_there_are_some() -> None:
    assert len(NETWORKS) >= 8


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_every_level_keeps_what_they_compute(path: Path, tmp_path: Path) -> None:
    model = load(path)
    weights = set(model.graph.initializers)
    inputs = [value for value in model.graph.inputs if value.name not in weights]
    random = np.random.default_rng(0)
    feeds = {
        str(value.name): random.standard_normal([int(d) for d in value.shape or ()]).astype("f4")  # type: ignore[arg-type]
        for value in inputs
    }
    expected = run(path, feeds)
    for level in ("basic", "extended", "all"):
        first, second = (optimize(model, level=level).model for _ in range(2))
        validate(first)
        written = [
            save(made, tmp_path / f"{level}.{n}.onnx") for n, made in enumerate((first, second))
        ]
        assert written[0].read_bytes() == written[1].read_bytes()
        actual = run(written[0], feeds)
        for name, value in expected.items():
            limit = 1e-5 * max(float(np.abs(value).max()), 1e-12)
            np.testing.assert_allclose(actual[name], value, atol=limit, rtol=0, err_msg=level)
        for place in written:
            place.unlink()
