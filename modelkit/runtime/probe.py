"""What the installed ONNX Runtime really does here, found by trying."""

import tempfile
from pathlib import Path

import onnx
from onnx import helper

from modelkit.errors import ModelkitError
from modelkit.reports import Change
from modelkit.runtime.providers import PROVIDERS
from modelkit.runtime.session import open_session

_NEWEST_OPSET, _NEWEST_IR = 40, 20


def open_on(provider: str) -> Change:
    """Open and run a model of one node on ``provider`` (our short name).

    Raises:
        ModelkitError: why it did not open.
    """
    import numpy as np

    row = [found for found in PROVIDERS if found.name == provider]
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = _one_node(Path(folder), opset=17, ir_version=8)
        with open_session(path, providers=row) as session:
            session.run({"x": np.ones((2, 2), np.float32)})
            return Change(provider, 1, tuple(session.raw.get_providers()))


def limits() -> Change:
    """The newest opset and IR version that open; ``notes`` are the two, as text."""
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        opset = max((n for n in range(17, _NEWEST_OPSET) if _opens(Path(folder), n, 8)), default=0)
        ir_version = max(
            (n for n in range(8, _NEWEST_IR) if _opens(Path(folder), 17, n)), default=0
        )
    return Change("limits", 2, (str(opset), str(ir_version)))


def _opens(folder: Path, opset: int, ir_version: int) -> bool:
    try:
        with open_session(_one_node(folder, opset, ir_version)):
            return True
    except ModelkitError:
        return False


def _one_node(folder: Path, opset: int, ir_version: int) -> Path:
    shape = [2, 2]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    path = folder / f"probe_{opset}_{ir_version}.onnx"
    path.write_bytes(model.SerializeToString())
    return path
