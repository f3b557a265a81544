"""Optimize one model with one peer, as its users would: ``python peer.py NAME IN OUT [KIND]``.

Runs alone in the peer's own environment; of this project nothing is there.
"""

import sys


def ort_online(source: str, target: str, kind: str) -> None:
    """What ONNX Runtime runs when it is given the original: its own optimizations, all of them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = target
    options.log_severity_level = 3
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnxslim(source: str, target: str, kind: str) -> None:
    """OnnxSlim's defaults."""
    import onnxslim

    onnxslim.slim(source, target)


def onnxsim(source: str, target: str, kind: str) -> None:
    """onnx-simplifier's defaults."""
    import onnx
    import onnxsim

    found, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(found, target)


def onnxoptimizer(source: str, target: str, kind: str) -> None:
    """The default passes."""
    import onnx
    import onnxoptimizer

    onnx.save(onnxoptimizer.optimize(onnx.load(source)), target)


def onnxscript(source: str, target: str, kind: str) -> None:
    """Fusions for ONNX Runtime, with the optimizer that they call themselves."""
    import onnx_ir
    from onnxscript.rewriter import ort_fusions

    found = ort_fusions.optimize_for_ort(onnx_ir.load(source))
    onnx_ir.save(found[0] if isinstance(found, tuple) else found, target)


def ort_transformers(source: str, target: str, kind: str) -> None:
    """ONNX Runtime's transformers optimizer for the CPU, told the kind of model."""
    from onnxruntime.transformers import optimizer

    optimizer.optimize_model(source, model_type=kind or "bert").save_model_to_file(target)


PEERS = {
    "ort-online": ort_online,
    "onnxslim": onnxslim,
    "onnxsim": onnxsim,
    "onnxoptimizer": onnxoptimizer,
    "onnxscript": onnxscript,
    "ort-transformers": ort_transformers,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
