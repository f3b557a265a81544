"""Graphs in text, as the central type."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from modelkit.model import load
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from tests.models import model_file


def model_of(text: str, opset: int = 17, seed: int = 0, domains: Sequence[str] = ()) -> ir.Model:
    """``text`` is what follows the header: inputs and outputs, weights, body."""
    with TemporaryDirectory() as folder:
        imports = ", ".join((f'"": {opset}', *(f'"{domain}": 1' for domain in domains)))
        head = f"<ir_version: 8, opset_import: [{imports}]> g "
        model = load(model_file(Path(folder) / "m.onnx", head + text, seed))
        lift_constants(model)
        infer_symbols(model)
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            # Out of the mapped file, which is gone when this returns.
            value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
        return model
