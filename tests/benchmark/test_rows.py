from pathlib import Path

import numpy as np
import pytest

from modelkit.benchmark.rows import open_rows
from modelkit.errors import ProviderMissing, UsageError
from modelkit.runtime.session import Setup
from modelkit.runtime.setups import setups
from tests.models import linear_text, model_file

FEEDS = {"x": np.ones((2, 8), np.float32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(8, 3))


def test_a_row_runs_its_model(path: Path) -> None:
    (row,), failed = open_rows([path], None, [Setup()], FEEDS)
    assert not failed
    assert (row.provider, row.bytes, row.on_cpu) == ("cpu", path.stat().st_size, True)
    with row.runner() as run:
        assert run(FEEDS)["y"].shape == (2, 3)


def test_rows_that_do_not_run_say_why(path: Path) -> None:
    rows, failed = open_rows([path], None, setups("cuda,cpu,azure"), FEEDS)
    assert [row.provider for row in rows] == ["cpu"]
    assert [row.provider for row in failed] == ["cuda", "azure"]
    assert "it has: Azure" in failed[0].error
    assert "carries 0%" in failed[1].error


def test_no_row_at_all_is_an_error(path: Path) -> None:
    with pytest.raises(ProviderMissing, match="no row"):
        open_rows([path], None, setups("cuda"), FEEDS)


def test_an_onnx_file_is_no_framework(path: Path) -> None:
    with pytest.raises(UsageError, match="is an ONNX file"):
        open_rows([path], str(path), [Setup()], FEEDS)
