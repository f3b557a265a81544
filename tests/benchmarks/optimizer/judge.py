"""Nodes and error of an optimized model: ``python -m ...judge ORIGINAL OPTIMIZED FEEDS...`` (JSON).

In a process of its own, because a graph that a peer broke can take ONNX Runtime down.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

Values = dict[str, np.ndarray]
_TINY = 1e-30


def operators(path: Path) -> Counter[str]:
    """How often each operator stands in the model, subgraphs included, functions as called."""
    model = onnx.load(path, load_external_data=False)
    functions = {(found.domain, found.name): found for found in model.functions}

    def count(nodes: Iterable[onnx.NodeProto]) -> Counter[str]:
        found: Counter[str] = Counter()
        for node in nodes:
            function = functions.get((node.domain, node.op_type))
            if function:
                found += count(function.node)
                continue
            found[node.op_type] += 1
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    found += count(graph.node)
        return found

    return count(model.graph.node)


def relative_error(expected: Values, actual: Values) -> float:
    """Largest difference over the largest value of its output.

    Raises:
        ValueError: an output is missing or has another shape or type, or is not finite elsewhere.
    """
    worst = 0.0
    for name, want in expected.items():
        if name not in actual:
            raise ValueError(f"output {name} is missing")
        got = actual[name]
        if want.shape != got.shape or want.dtype != got.dtype:
            raise ValueError(
                f"output {name} is {got.dtype}{list(got.shape)},"
                f" the original's {want.dtype}{list(want.shape)}"
            )
        finite = np.isfinite(want)
        if not np.array_equal(finite, np.isfinite(got)):
            raise ValueError(f"output {name} is not finite where the original is, or the reverse")
        if not finite.any():
            continue
        old, new = want[finite].astype(np.float64), got[finite].astype(np.float64)
        worst = max(worst, float(np.abs(old - new).max() / max(np.abs(old).max(), _TINY)))
    return worst


def _session(path: Path, level: "ort.GraphOptimizationLevel") -> "ort.InferenceSession":
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _outputs(session: "ort.InferenceSession", feeds: Values) -> Values:
    names = [output.name for output in session.get_outputs()]
    # An optimizer may leave out an input that nothing reads.
    wanted = {port.name for port in session.get_inputs()}
    values = session.run(names, {name: x for name, x in feeds.items() if name in wanted})
    return dict(zip(names, values, strict=True))


def error_of(original: Path, optimized: Path, feeds: list[Path]) -> float:
    """Relative error as it will be run, against the original with optimizations off."""
    levels = ort.GraphOptimizationLevel
    old = _session(original, levels.ORT_DISABLE_ALL)
    new = _session(optimized, levels.ORT_ENABLE_ALL)
    worst = 0.0
    for path in feeds:
        with np.load(path) as found:
            values = {name: found[name] for name in found.files}
        worst = max(worst, relative_error(_outputs(old, values), _outputs(new, values)))
    return worst


def main() -> None:
    """Print what was found."""
    original, optimized, *feeds = map(Path, sys.argv[1:])
    counts = dict(sorted(operators(optimized).items()))
    found: dict[str, Any] = {"operators": counts, "error": None, "failure": ""}
    try:
        found["error"] = error_of(original, optimized, feeds)
    except Exception as error:  # ONNX Runtime raises its own, all of them directly from this
        found["failure"] = f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
