"""What the installed ONNX Runtime really does here, found by trying.

Each function is for a child process of its own: a provider may crash while it opens.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from modelkit.errors import ModelkitError, ProviderMissing
from modelkit.reports import ProviderFacts
from modelkit.runtime.providers import CPU, PROVIDERS
from modelkit.runtime.session import available, built_with, open_session

# Forms that every build opens, and numbers that none reaches for years.
_OLD_OPSET, _OLD_IR = 17, 8
_FAR_OPSET, _FAR_IR = 40, 20


@dataclass(frozen=True)
class Build:
    """The installed ONNX Runtime: its names of providers, the newest opset and IR it opens."""

    providers: tuple[str, ...]
    opset: int
    ir_version: int
    cuda: str = ""
    cudnn: str = ""


def build() -> Build:
    """Ask ONNX Runtime for its providers, and find its limits by opening tiny models."""
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        place = Path(folder)
        opsets = (n for n in range(_FAR_OPSET, 0, -1) if _opens(_matmul(place, n, _OLD_IR)))
        versions = (n for n in range(_FAR_IR, 0, -1) if _opens(_matmul(place, _OLD_OPSET, n)))
        return Build(tuple(available()), next(opsets, 0), next(versions, 0), *built_with())


def open_on(provider: str) -> ProviderFacts:
    """Open and run a model of one node on ``provider`` (our short name) and see who ran it.

    Raises:
        ModelkitError: why it did not open.
    """
    row = [known for known in PROVIDERS if known.name == provider]
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = _matmul(Path(folder), _OLD_OPSET, _OLD_IR)
        with open_session(path, providers=row, profile=Path(folder) / "trace") as session:
            outputs = session.run({"x": np.full((2, 2), 2, np.float32)})
            ran = _who_ran(Path(session.raw.end_profiling()))
    if not np.allclose(outputs["y"], 8):
        raise ProviderMissing(f"{provider} computes wrong values: 2 x 2 x 2 is not 8")
    if ran == {row[0].ort}:
        return ProviderFacts(provider, True, "ran a model of one node")
    by = "the CPU" if ran == {CPU.ort} else ", ".join(sorted(ran)) or "nobody known"
    return ProviderFacts(provider, True, f"its MatMul was run by {by}")


def _who_ran(trace: Path) -> set[str]:
    events = json.loads(trace.read_text())
    names = (event.get("args", {}).get("provider", "") for event in events)
    return {name for name in names if name}


def _opens(path: Path) -> bool:
    try:
        with open_session(path):
            return True
    except ModelkitError:
        return False


def _matmul(folder: Path, opset: int, ir_version: int) -> Path:
    """A model of one MatMul, y = x @ x, with x and y float32[2, 2]."""
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", [x], [y])
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    path = folder / f"probe_{opset}_{ir_version}.onnx"
    path.write_bytes(model.SerializeToString())
    return path
