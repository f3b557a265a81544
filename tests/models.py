"""Small models for tests, written as ONNX text, and a plain way to run them."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

Feeds = dict[str, np.ndarray]


def linear_text(rows: int, columns: int, opset: int = 20) -> str:
    """``y = x @ w + b`` with random float weights [rows, columns]; call :func:`model_file`."""
    return f"""<ir_version: 10, opset_import: ["": {opset}]>
    linear (float[n, {rows}] x) => (float[n, {columns}] y)
    <float[{rows}, {columns}] w, float[{columns}] b>
    {{ m = MatMul(x, w) y = Add(m, b) }}"""


def parsed(text: str, seed: int = 0) -> onnx.ModelProto:
    """The model in ``text``; floats declared in <> that nobody makes become random weights."""
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(seed)
    made = {name for node in model.graph.node for name in node.output}
    for value in list(model.graph.value_info):
        kind = value.type.tensor_type
        if value.name in made or kind.elem_type != onnx.TensorProto.FLOAT:
            continue
        shape = [dim.dim_value for dim in kind.shape.dim]
        array = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        model.graph.value_info.remove(value)
    return model


def model_file(path: Path, text: str, seed: int = 0) -> Path:
    """Write the model in ``text`` to ``path`` and return it."""
    path.write_bytes(parsed(text, seed).SerializeToString())
    return path


def run(model: Path | onnx.ModelProto, feeds: Feeds) -> Feeds:
    """All outputs, with ONNX Runtime's optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
