from pathlib import Path

import numpy as np
import pytest

from modelkit.convert.reference import is_framework, reference
from modelkit.errors import UsageError
from tests.models import linear_text, model_file

FACTORY = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "factory_for_reference.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "factory_for_reference:build"


def test_a_factory_takes_its_shapes_from_the_feeds(factory: str) -> None:
    feeds = {"input": np.ones((3, 8), np.float32)}
    for source in (factory, f"torch:{factory}"):
        found = reference(source, feeds, threads=1)
        (value,) = found.run(feeds).values()
        assert value.shape == (3, 4)


def test_what_is_a_framework(tmp_path: Path, factory: str) -> None:
    onnx_file = model_file(tmp_path / "m.onnx", linear_text(2, 2))
    assert is_framework(factory)
    assert is_framework("torch:model.pt")
    assert is_framework(str(tmp_path))
    assert not is_framework(str(onnx_file))
    assert not is_framework(str(onnx_file.rename(tmp_path / "m.bin")))
    assert not is_framework("nothere.onnx")
    with pytest.raises(UsageError, match="is an ONNX file"):
        reference(str(tmp_path / "m.bin"), {"x": np.ones((1, 2), np.float32)})
