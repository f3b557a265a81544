"""The graphs that half-precision converters are measured on: exported ones and hand-made ones."""

from pathlib import Path

import numpy as np
import onnx
import onnx.helper

from tests.models import Feeds, parsed

FOLDER = Path(__file__).with_name("lab")
NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))
_FACTORS = {"tiny_weights.dynamo": 1e-8, "tiny_weights.torchscript": 1e-8}
_GIVEN: dict[str, dict[int, np.ndarray]] = {
    "casts": {1: np.arange(16)[None].repeat(2, 0)},
    "masked": {1: np.array([[1] * 5 + [0] * 3, [1] * 8])},
    "large_sums": {0: np.random.default_rng(0).uniform(0, 2, (1, 64, 64, 64))},
    "repeated": {1: np.array(5)},
    "loop_capture": {1: np.array(4)},
}
_SIZES = {"n": 5}


def proto(name: str) -> onnx.ModelProto:
    """The model, its weights drawn where the text leaves them out, its nodes named."""
    model = parsed((FOLDER / f"{name}.txt").read_text())
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    made = {output for node in model.graph.node for output in node.output}
    random = np.random.default_rng(1)
    for value in list(model.graph.value_info):
        kind = value.type.tensor_type
        if value.name not in made and kind.elem_type == onnx.TensorProto.DOUBLE:
            array = random.standard_normal([dim.dim_value for dim in kind.shape.dim])
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            model.graph.value_info.remove(value)
    for tensor in model.graph.initializer:
        if name in _FACTORS and len(tensor.dims) == 2:
            array = onnx.numpy_helper.to_array(tensor) * np.float32(_FACTORS[name])
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


def feeds(name: str, model: onnx.ModelProto, seed: int = 0) -> Feeds:
    """Inputs for it."""
    random = np.random.default_rng(seed)
    weights = {tensor.name for tensor in model.graph.initializer}
    given = _GIVEN.get(name.split(".")[0], {})
    found = {}
    for place, value in enumerate(model.graph.input):
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        shape = [dim.dim_value or _SIZES[dim.dim_param] for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        array = given.get(place, random.standard_normal(shape))
        found[value.name] = array.astype(dtype)
    return found
