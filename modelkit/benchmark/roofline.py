"""How near a run is to what this machine's arithmetic and memory allow.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.  Both peaks are measured with
ONNX Runtime itself and the threads of the benchmark: a float32 matrix product, and a sum of arrays
that fit in no cache.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from modelkit.model import facts, load
from modelkit.reports import Roof
from modelkit.runtime.profile import arithmetic
from modelkit.runtime.providers import CPU
from modelkit.runtime.session import Feeds, Session, Setup

_SIDE = 1024
_FLOATS = 1 << 25  # 128 MiB an array
_SECONDS = 0.5


def roof(setup: Setup, path: Path, feeds: Feeds) -> Roof:
    """Measured peaks of this machine, in 1e9 a second, and what one run of the model asks for."""
    plain = replace(setup, providers=(CPU,), provider_options={}, custom_ops=(), session_options={})
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        gemm = _model(Path(folder) / "gemm.onnx", "MatMul", [_SIDE, _SIDE])
        stream = _model(Path(folder) / "stream.onnx", "Add", [_FLOATS])
        with plain.open(gemm) as session:
            products = 2 * _SIDE**3 / _fastest(session, [_SIDE, _SIDE])
        with plain.open(stream) as session:
            moved = 3 * 4 * _FLOATS / _fastest(session, [_FLOATS])
    needed = sum(arithmetic(path, feeds, setup).values())
    size = facts(load(path), path).bytes + sum(value.nbytes for value in feeds.values())
    return Roof(products / 1e9, moved / 1e9, needed, size)


def share(found: Roof, median_ms: float) -> float:
    """The least time the machine allows over the time it took; above 1 in narrower numbers."""
    least = max(found.model_flops / found.gflops, found.model_bytes / found.gbytes) / 1e6
    return least / median_ms if median_ms else 0.0


def _fastest(session: Session, shape: list[int]) -> float:
    feeds = {name: np.ones(shape, np.float32) for name in ("a", "b")}
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.raw.run(None, feeds)
        best = min(best, time.perf_counter() - start)
    return best


def _model(path: Path, op: str, shape: list[int]) -> Path:
    a, b, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "aby")
    graph = helper.make_graph([helper.make_node(op, ["a", "b"], ["y"])], "peak", [a, b], [y])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
