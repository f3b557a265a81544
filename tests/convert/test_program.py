from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.program import open_program
from modelkit.convert.source import Options
from modelkit.errors import BadInput, UsageError
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


def test_a_program_is_converted_at_the_opset_asked_for(program: Path, tmp_path: Path) -> None:
    report = convert_file(str(program), str(tmp_path / "m.onnx"), trust_source=True, opset=21)
    assert report.framework == "torch.export program"
    assert report.attempts[-1].route == "exported program"
    assert report.result.opset[""] == 21
    assert {len(trial.shapes["x"]) for trial in report.verification.trials} == {2}
    assert len({str(trial.shapes) for trial in report.verification.trials}) == 2
    with pytest.raises(UsageError, match="--dtype means nothing"):
        convert_file(str(program), str(tmp_path / "n.onnx"), trust_source=True, dtype="float16")
