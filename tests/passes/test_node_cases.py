"""ONNX's own operator tests: what runs before ``basic`` gives the same after it."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.backend.test.case.node import collect_testcases

from modelkit.model import Model, validate
from modelkit.passes import run_level
from tests.passes.harness import run

EVERY, MOST, BYTES = 8, 250, 100_000
TENSORS = "biuf"


@pytest.mark.filterwarnings("ignore")
def test_basic_keeps_what_operators_compute() -> None:
    ran, wrong = 0, []
    for case in collect_testcases()[::EVERY][:MOST]:
        if case.model is None or case.model.ByteSize() > BYTES:
            continue
        given = [_array(value) for value in case.data_sets[0][0]]
        feeds = {
            port.name: value for port, value in zip(case.model.graph.input, given, strict=False)
        }
        for variant, rest in ((case.model, feeds), (_frozen(case.model, feeds), {})):
            outcome = None if variant is None else _kept(variant, rest)
            ran += outcome is not None
            if outcome is False:
                wrong.append(case.name)
    assert not wrong
    assert ran > 150


def _array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _frozen(model: onnx.ModelProto, feeds: dict[str, Any]) -> onnx.ModelProto | None:
    """The model with its inputs made weights, and outputs one node away, so that all folds."""
    ports = [*model.graph.input, *model.graph.output]
    plain = all(isinstance(v, np.ndarray) and v.dtype.kind in TENSORS for v in feeds.values())
    if not plain or not all(port.type.HasField("tensor_type") for port in ports):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.input[:]
    for name, value in feeds.items():
        copy.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    outputs = {port.name for port in copy.graph.output}
    for node in copy.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = f"{name}_inner" if name in outputs else name
    for name in sorted(outputs):
        copy.graph.node.append(onnx.helper.make_node("Identity", [f"{name}_inner"], [name]))
    return copy


def _kept(proto: onnx.ModelProto, feeds: dict[str, Any]) -> bool | None:
    """Whether ``basic`` keeps the outputs; None where ONNX Runtime does not run the original."""
    model: Model = ir.serde.deserialize_model(proto)
    try:
        expected = run(model, feeds)
    except Exception:  # whatever the runtime refuses is no subject here
        return None
    run_level(model, "basic", chosen=lambda name: True)
    validate(model)
    return all(_close(a, b) for a, b in zip(expected, run(model, feeds), strict=True))


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray) or a.dtype.kind not in TENSORS:
        return str(a) == str(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    loose = 1e-2 if a.dtype == np.float16 else 1e-5
    return bool(np.allclose(a, b, rtol=loose, atol=loose / 10, equal_nan=a.dtype.kind == "f"))
