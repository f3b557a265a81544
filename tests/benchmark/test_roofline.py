from pathlib import Path

import numpy as np
import pytest

from modelkit.benchmark.roofline import roof, share
from modelkit.reports import Roof
from modelkit.runtime.session import Setup
from tests.models import linear_text, model_file


def test_the_nearer_roof_counts() -> None:
    # 1 GFLOP at 100 GFLOP/s are 10 ms; 40 MB at 10 GB/s are 4 ms.
    found = Roof(gflops=100, gbytes=10, model_flops=10**9, model_bytes=40 * 10**6)
    assert share(found, 20) == pytest.approx(0.5)
    bound = Roof(gflops=100, gbytes=1, model_flops=10**9, model_bytes=40 * 10**6)
    assert share(bound, 80) == pytest.approx(0.5)
    assert share(found, 0) == 0


def test_peaks_are_measured_and_the_model_counted(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(64, 32))
    found = roof(Setup(), path, {"x": np.ones((4, 64), np.float32)})
    assert found.gflops > 1
    assert found.gbytes > 0.5
    assert found.model_flops == 2 * 4 * 64 * 32 + 4 * 32
    assert found.model_bytes == path.stat().st_size + 4 * 64 * 4
