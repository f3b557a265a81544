from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert.export_torch import (
    CAPTURE_OPSET,
    captured,
    evaluate,
    named_outputs,
    reference,
    routes,
    traced,
)
from modelkit.errors import BadInput, Unsupported
from modelkit.model import InputSpec, Model, save
from tests.convert import samples
from tests.models import run

X = (InputSpec("x", "float32", ("batch", 8)),)


def outputs_of(model: Model, path: Path, x: np.ndarray) -> np.ndarray:
    return run(save(model, path), {"x": x})["output"]


@pytest.mark.parametrize("export", [captured, traced])
def test_both_exporters_keep_names_axes_and_numbers(tmp_path: Path, export: object) -> None:
    assert callable(export)
    module = samples.linear().eval()
    model = export(module, X, ["output"], [torch.randn(2, 8)])
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert str(model.graph.inputs[0].shape) == "[batch,8]"
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    expected = reference(module, X, ["output"])({"x": x})["output"]
    np.testing.assert_allclose(outputs_of(model, tmp_path / "m.onnx", x), expected, atol=1e-6)


def test_the_opset_asked_for_is_written_where_the_exporter_can() -> None:
    module, sample = samples.linear().eval(), [torch.randn(2, 8)]
    assert captured(module, X, ["output"], sample).graph.opset_imports[""] == CAPTURE_OPSET
    assert captured(module, X, ["output"], sample, 18).graph.opset_imports[""] == 18
    assert captured(module, X, ["output"], sample, 13).graph.opset_imports[""] == 18
    assert traced(module, X, ["output"], sample, 15).graph.opset_imports[""] == 15


def test_a_branch_on_a_value_is_refused_with_what_where_and_what_to_do() -> None:
    with pytest.raises(Unsupported) as caught:
        captured(samples.Branching(), X, ["output"], [torch.randn(2, 8)])
    error = caught.value
    assert "branches on the value of a tensor" in error.message
    assert error.cause.startswith("samples.py:")
    assert "torch.where" in error.hint


def test_an_operator_without_a_form_is_named() -> None:
    class Spectrum(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(x).abs()

    with pytest.raises(Unsupported) as caught:
        traced(Spectrum(), X, ["output"], [torch.randn(2, 8)])
    assert "aten::fft_rfft" in caught.value.message


def test_exporting_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    captured(samples.linear().eval(), X, ["output"], [torch.randn(2, 8)])
    traced(samples.linear().eval(), X, ["output"], [torch.randn(2, 8)])
    assert capfd.readouterr() == ("", "")


def test_routes_end_with_fixed_axes() -> None:
    found = routes(samples.linear(), X, ["output"], [torch.randn(2, 8)])
    assert [route.name for route in found] == [
        "graph capture",
        "tracing",
        "graph capture, fixed axes",
        "tracing, fixed axes",
    ]
    assert found[0].inputs is None
    assert found[2].inputs == (InputSpec("x", "float32", (2, 8)),)
    assert "x[2, 8]" in found[2].note


def test_a_script_is_only_traced_and_fixed_inputs_are_exported_once() -> None:
    script = torch.jit.script(samples.linear())
    assert [r.name for r in routes(script, X, ["output"], [torch.randn(2, 8)])] == [
        "tracing",
        "tracing, fixed axes",
    ]
    fixed = (InputSpec("x", "float32", (2, 8)),)
    assert len(routes(samples.linear(), fixed, ["output"], [torch.randn(2, 8)])) == 2


def test_a_module_that_raises_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"shape \[2, 9\]") as caught:
        evaluate(samples.linear(), [torch.randn(2, 9)])
    assert "RuntimeError" in caught.value.cause


def test_outputs_are_named_by_keys_then_by_number() -> None:
    one = torch.zeros(1)
    assert list(named_outputs(one)) == ["output"]
    assert list(named_outputs((one,))) == ["output"]
    assert list(named_outputs((one, None, [one, one]))) == [
        "output_0",
        "output_2_0",
        "output_2_1",
    ]
    assert list(named_outputs({"logits": one, "states": (one, one)})) == [
        "logits",
        "states_0",
        "states_1",
    ]
    assert list(named_outputs(torch.max(torch.zeros(2, 2), 1))) == ["output_0", "output_1"]


def test_the_reference_leaves_its_feeds_alone() -> None:
    class InPlace(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(1)

    x = np.zeros((2, 8), np.float32)
    reference(InPlace(), X, ["output"])({"x": x})
    assert not x.any()
