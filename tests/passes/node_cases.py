"""ONNX's own operator tests as a proof: what runs before a level of ``optimize`` does so after it.

``python -m tests.passes.node_cases`` runs all of them in one process and prints what went wrong;
``--every 12`` takes each twelfth.  The case at work is printed first, so that a crash has a name.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.backend.test.case.node import collect_testcases

from modelkit.errors import ModelkitError
from modelkit.model import Model, validate
from modelkit.optimize import optimize
from modelkit.passes import LEVELS
from modelkit.passes.surgery import is_random
from tests.passes.harness import run

BYTES = 2_000_000
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
TENSORS = "biuf"


@dataclass
class Outcome:
    """How many variants of cases there are, how often a level was compared, and what was wrong."""

    cases: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)


def prove(every: int, levels: tuple[str, ...], *, only: str = "", loud: bool = False) -> Outcome:
    """Optimize each ``every``-th case at ``levels``, as it is and with its inputs made weights."""
    outcome = Outcome()
    for name, proto, feeds in _variants(every):
        if only not in name:
            continue
        outcome.cases += 1
        if loud:
            print(f"at {name}", flush=True)
        try:
            expected = run(_read(proto), feeds)
        except Exception:  # what the runtime refuses before is no subject here
            continue
        for level in levels:
            outcome.compared += 1
            fault = _fault(proto, feeds, expected, level)
            if fault:
                outcome.wrong.append(f"{name} {level}: {fault}")
    return outcome


Variant = tuple[str, onnx.ModelProto, dict[str, Any]]


def _variants(every: int) -> Iterator[Variant]:
    for case in collect_testcases()[::every]:
        if case.model is None or case.model.ByteSize() > BYTES:
            continue
        given = [_array(value) for value in case.data_sets[0][0]]
        ports = zip(case.model.graph.input, given, strict=False)
        feeds = {port.name: value for port, value in ports if value is not None}
        yield case.name, case.model, feeds
        frozen = _frozen(case.model, feeds)
        if frozen is not None:
            yield f"{case.name} frozen", frozen, {}
    if every == 1:
        yield from networks()


def networks() -> Iterator[Variant]:
    """The image networks of the onnx wheel, whose weights are made by their first nodes."""
    for path in sorted(LIGHT.glob("*.onnx")):
        proto = onnx.load(path)
        made = {tensor.name for tensor in proto.graph.initializer}
        random = np.random.default_rng(0)
        feeds = {
            port.name: random.random(
                [dim.dim_value for dim in port.type.tensor_type.shape.dim], dtype=np.float32
            )
            for port in proto.graph.input
            if port.name not in made
        }
        yield path.stem, proto, feeds


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


def _read(proto: onnx.ModelProto) -> Model:
    return ir.serde.deserialize_model(proto)


def _fault(proto: onnx.ModelProto, feeds: dict[str, Any], expected: list[Any], level: str) -> str:
    """What went wrong at ``level``, "" where nothing did."""
    model = _read(proto)
    try:
        first = optimize(model, level=level).model
        again = optimize(_read(proto), level=level).model
        validate(first)
    except ModelkitError as error:
        return f"{error.message}: {error.cause}"
    except Exception as error:
        return f"{type(error).__name__} {error}"
    if ir.to_proto(first).SerializeToString() != ir.to_proto(again).SerializeToString():
        return "two runs gave different bytes"
    try:
        found = run(first, feeds)
    except Exception as error:
        return f"does not run any more: {str(error)[:300]}"
    loose = any(is_random(node) for node in model.graph.all_nodes())
    pairs = zip(expected, found, strict=True)
    bad = [place for place, (a, b) in enumerate(pairs) if not _close(a, b, loose=loose)]
    return f"outputs {bad} differ" if bad else ""


def _close(a: Any, b: Any, *, loose: bool) -> bool:
    if not isinstance(a, np.ndarray) or a.dtype.kind not in TENSORS:
        return loose or str(a) == str(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    limit = 1e-2 if a.dtype == np.float16 else 1e-5
    same = np.allclose(a, b, rtol=limit, atol=limit / 10, equal_nan=a.dtype.kind == "f")
    return loose or bool(same)


def main() -> int:
    """Print what is wrong and a summary; 1 when anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--level", choices=list(LEVELS), action="append")
    parser.add_argument("--only", default="")
    parser.add_argument("--loud", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    levels = tuple(asked.level or LEVELS)
    outcome = prove(asked.every, levels, only=asked.only, loud=asked.loud)
    for line in outcome.wrong:
        print(f"WRONG {line}")
    print(f"{outcome.cases} variants, {outcome.compared} comparisons, {len(outcome.wrong)} wrong")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
