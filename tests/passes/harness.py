"""Build a model from ONNX text, change it, and compare what it computes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from modelkit.model import Model, clone, operator_counts, validate
from modelkit.passes import Pass

Feeds = Mapping[str, np.ndarray]


def model_of(text: str) -> Model:
    """The model that ``text`` describes, with node names where the text gives none."""
    proto = onnx.parser.parse_model(text)
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return ir.serde.deserialize_model(proto)


def ops(model: Model) -> dict[str, int]:
    return operator_counts(model)


def run(model: Model, feeds: Feeds) -> list[Any]:
    """All outputs, by ONNX Runtime with its optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    data = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def check(model: Model, *trials: Feeds, exact: bool = True, before: Model | None = None) -> None:
    """Legal for us and for onnx, and, given ``before``, computing the same on every trial."""
    validate(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for feeds in trials:
        assert before is not None
        for old, new in zip(run(before, feeds), run(model, feeds), strict=True):
            assert old.dtype == new.dtype
            assert old.shape == new.shape
            if exact or old.dtype.kind not in "f":
                np.testing.assert_array_equal(new, old)
            else:
                np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)


def applied(text: str, *passes: Pass, trials: tuple[Feeds, ...] = ()) -> tuple[Model, int]:
    """The model after ``passes``, checked and compared on ``trials``; the last pass's count."""
    before = model_of(text)
    after, count = clone(before), 0
    for each in passes:
        count = each(after).count
    check(after, *trials, before=before)
    return after, count


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
