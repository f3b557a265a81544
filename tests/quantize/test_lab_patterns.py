from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.errors import BadInput, CheckFailed, ModelkitError
from modelkit.model import load, save, validate
from modelkit.quantize import quantize
from modelkit.quantize.emit import Form
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.refusals import refuse
from modelkit.quantize.static import Recipe, quantize_static
from modelkit.runtime import metrics
from tests.models import run
from tests.quantize.lab_patterns import PATTERNS, Pattern


def written(pattern: Pattern, folder: Path) -> Path:
    model, path = pattern.model(), folder / "m.onnx"
    external = "external" in pattern.kinds
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location="m.data")
    return path


def quantized(pattern: Pattern, path: Path, mode: str) -> tuple[Path, Outcome]:
    source = load(path)
    refuse(source, path)
    if mode == "dynamic":
        result, outcome = quantize(source)
    else:
        samples = pattern.samples()
        recipe = Recipe(form=Form(qop=True), calibration="minmax")
        result, outcome, _ = quantize_static(source, lambda: iter(samples), recipe)
    validate(result)
    return save(result, path.with_name("out.onnx")), outcome


def test_there_are_43() -> None:
    assert len(PATTERNS) == 43


@pytest.mark.parametrize("mode", ["dynamic", "static"])
@pytest.mark.parametrize("name", PATTERNS)
def test_layers_are_quantized_with_their_values_or_named_with_the_reason(
    tmp_path: Path, name: str, mode: str
) -> None:
    pattern = PATTERNS[name]
    path = written(pattern, tmp_path)
    expected = pattern.dynamic if mode == "dynamic" else pattern.static
    try:
        out, outcome = quantized(pattern, path, mode)
    except ModelkitError as error:
        assert isinstance(error, BadInput | CheckFailed)
        assert isinstance(expected, str)
        assert expected in f"{error.message} {error.cause} {error.hint}"
        return
    if isinstance(expected, str):
        assert [skip.reason for skip in outcome.skips if expected in skip.reason]
        assert outcome.quantized == 0
    else:
        assert outcome.quantized == expected
    assert outcome.candidates == outcome.quantized + len(outcome.skips)
    original = onnx.load(path)
    for node in original.graph.node:
        node.name = ""  # ONNX Runtime refuses nodes of one name
    signal = noise = 0.0
    for feeds in pattern.samples(4):
        one, other = run(original, feeds), run(out, feeds)
        for key, value in one.items():
            assert (value.shape, value.dtype) == (other[key].shape, other[key].dtype)
            finite = np.isfinite(value)
            here, there = np.where(finite, value, 0), np.where(finite, other[key], 0)
            parts = metrics.energies(here, there)
            signal, noise = signal + parts[0], noise + parts[1]
    assert metrics.sqnr(signal, noise) > pattern.least or noise < 1e-12
