import sys
from pathlib import Path

import numpy as np
import pytest

from modelkit.runtime.peak import peak_of
from tests.models import linear_text, model_file


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux only")
def test_a_larger_model_takes_more(tmp_path: Path) -> None:
    small = model_file(tmp_path / "s.onnx", linear_text(8, 8))
    large = model_file(tmp_path / "l.onnx", linear_text(4096, 4096))
    less = peak_of(small, {"x": np.ones((1, 8), np.float32)})
    more = peak_of(large, {"x": np.ones((1, 4096), np.float32)})
    assert more - less > 40 << 20


def test_a_model_that_does_not_open_has_no_figure(tmp_path: Path) -> None:
    assert peak_of(tmp_path / "nothing.onnx", {}) == 0
