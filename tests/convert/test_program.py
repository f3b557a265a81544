from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert.program import open_program
from modelkit.convert.source import Options
from modelkit.errors import BadInput
from modelkit.model import save
from tests.convert import samples
from tests.models import run


@pytest.fixture
def program(tmp_path: Path) -> Path:
    batch = torch.export.Dim("batch")
    exported = torch.export.export(
        samples.linear().eval(), (torch.randn(2, 8),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(exported, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def test_inputs_and_axes_come_from_the_program(program: Path, tmp_path: Path) -> None:
    source = open_program(program, Options(trust_source=True))
    spec = source.inputs[0]
    assert (spec.name, spec.dtype, spec.shape) == ("x", "float32", ("batch", 8))
    model = source.routes[0].export()
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    assert source.reference is not None
    expected = source.reference({"x": x})["output"]
    found = run(save(model, tmp_path / "m.onnx"), {"x": x})["output"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_program_needs_trust(program: Path) -> None:
    with pytest.raises(BadInput) as caught:
        open_program(program, Options())
    assert caught.value.code == "untrusted"
