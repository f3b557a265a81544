import numpy as np
import onnx_ir as ir

from modelkit.convert.draft import ML, Draft
from modelkit.model import validate
from tests.models import run


def test_a_drafted_graph_runs() -> None:
    draft = Draft()
    x = draft.input("x", "float32", ["batch", 2])
    total = draft.add(
        "ReduceSum",
        draft.add("Mul", x, draft.constant(np.array([2, 3], np.float32))),
        draft.constant(np.array([1])),
        keepdims=0,
    )
    draft.output(total, "sum", "float32", ["batch"])
    draft.output(x, "same", "float32", ["batch", 2])
    model = draft.model("test")
    validate(model)
    values = np.array([[1, 1], [0, 4]], np.float32)
    found = run(ir.to_proto(model), {"x": values})
    assert found["sum"].tolist() == [5, 12]
    assert found["same"].tolist() == values.tolist()
    assert [str(dim) for dim in model.graph.outputs[0].shape or ()] == ["batch"]


def test_strings_and_tensors_as_attributes() -> None:
    draft = Draft()
    index = draft.input("i", "int64", ["batch"])
    words = draft.constant(np.array(["no", "yes"], dtype=object))
    draft.output(draft.add("Gather", words, index), "word", "str", ["batch"])
    ones = draft.add("ConstantOfShape", draft.add("Shape", index), value=np.array([7], np.int64))
    scaled = draft.add("Scaler", ones, domain=ML, offset=[0.0], scale=[2.0])
    draft.output(scaled, "sevens", "float32", ["batch"])
    found = run(ir.to_proto(draft.model("test")), {"i": np.array([1, 0, 1])})
    assert found["word"].tolist() == ["yes", "no", "yes"]
    assert found["sevens"].tolist() == [14, 14, 14]
