"""Apply fusions to a model in text, and hold the result to structure, checker and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir

from modelkit.fusions import load_fusions
from modelkit.model import load, save, validate
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_unused import remove_unused
from modelkit.reports import NearMiss
from modelkit.rewrite import Fusion, apply
from tests.models import Feeds, model_file, run

RELATIVE = 1e-5


@dataclass
class Result:
    """What came of it."""

    counts: dict[str, int]
    operators: list[str]
    near_misses: tuple[NearMiss, ...]
    model: ir.Model

    def reason(self, *fusions: str) -> str:
        """Why none of ``fusions`` fired, "" if they saw no place at all."""
        return next((miss.reason for miss in self.near_misses if miss.fusion in fusions), "")


def fusion(name: str) -> Fusion:
    """The fusion called ``name``."""
    return next(found for found in load_fusions() if found.name == name)


def rewritten(text: str, fusions: Sequence[str], feeds: Sequence[Feeds]) -> Result:
    """Apply ``fusions`` to the model in ``text`` and compare before and after on ``feeds``."""
    with TemporaryDirectory() as folder:
        before = model_file(Path(folder) / "before.onnx", text)
        model = load(before)
        lift_constants(model)
        infer_symbols(model)
        applied = apply([fusion(name) for name in fusions], model, allow=lambda found: None)
        remove_unused(model)
        validate(model)
        after = save(model, Path(folder) / "after.onnx")
        onnx.checker.check_model(onnx.load(after), full_check=False)
        for values in feeds:
            _compare(run(before, values), run(after, values))
        counts = {change.name: change.count for change in applied.changes}
        operators = [node.op_type for node in model.graph]
        return Result(counts, operators, applied.near_misses, model.clone())


def _compare(expected: Feeds, actual: Feeds) -> None:
    assert list(expected) == list(actual)
    for name, value in expected.items():
        assert value.shape == actual[name].shape
        assert value.dtype == actual[name].dtype
        scale = max(float(np.abs(value).max(initial=0)), 1e-12)
        np.testing.assert_allclose(actual[name], value, atol=RELATIVE * scale, rtol=0)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
