import numpy as np
import pytest

pytest.importorskip("tensorflow")

from modelkit.convert import tensorflow_graphs as graphs  # isort: skip

import tensorflow as tf
from onnx_ir import Model, to_proto
from tf2onnx import optimizer

from modelkit.convert.draft import Draft
from modelkit.convert.source import Options
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import InputSpec
from tests.models import run


def test_variables_and_captured_values_become_constants() -> None:
    weight, shift = tf.Variable([[2.0]]), tf.constant([3.0])
    spec = tf.TensorSpec([None, 1], tf.float32, name="x")

    function = tf.function(lambda x: {"y": x @ weight + shift}).get_concrete_function(x=spec)
    found = graphs.frozen(function)
    assert list(found.inputs.values()) == ["x"]
    assert list(found.outputs.values()) == ["y"]
    assert "Const" in set(graphs.operators(found.definition))
    assert "ReadVariableOp" not in set(graphs.operators(found.definition))


def test_ids_stay_below_the_rows_of_their_table() -> None:
    table = tf.Variable(tf.random.normal((13, 4)))
    spec = tf.TensorSpec([None, 3], tf.int32, name="ids")
    function = tf.function(lambda ids: {"y": tf.gather(table, ids)}).get_concrete_function(ids=spec)
    found = graphs.frozen(function)
    tensors = [("ids", tf.int32, tf.TensorShape([None, 3]))]
    (known,) = graphs.specs_of(tensors, Options(), found.definition)
    assert (known.dtype, known.shape, known.high) == ("int32", ("batch", 3), 12.0)


def test_unknown_shapes_are_asked_for_and_taken() -> None:
    tensors = [("x", tf.float32, tf.TensorShape(None)), ("s", tf.string, tf.TensorShape([None]))]
    with pytest.raises(UsageError) as caught:
        graphs.specs_of(tensors, Options())
    assert caught.value.hint == "add --input-shape x:batch,SIZE"
    first, second = graphs.specs_of(tensors, Options(input_shape=("x:batch,4",)))
    assert first.shape == ("batch", 4)
    assert second.dtype == "str"


def test_risky_operators_are_named() -> None:
    graphs.refuse_risky(["MatMul", "Add"], "m.pb", Options())
    graphs.refuse_risky(["PyFunc"], "m.pb", Options(trust_source=True))
    with pytest.raises(BadInput) as caught:
        graphs.refuse_risky(["MatMul", "PyFunc", "ReadFile"], "m.pb", Options())
    assert caught.value.cause == "PyFunc, ReadFile"


def drafted(domain: str) -> Model:
    draft = Draft()
    x = draft.input("b:0", "float32", ["n", 2])
    y = draft.input("a:0", "float32", ["n", 2])
    draft.output(draft.add("Sub", x, y, domain=domain), "out:0", "float32", ["n", 2])
    return draft.model("test")


def test_names_and_order_are_those_asked_for() -> None:
    specs = [InputSpec(name, "float32", ("batch", 2)) for name in ("a", "b")]
    model = graphs.named(drafted(""), specs, ["difference"])
    assert [value.name for value in model.graph.inputs] == ["a", "b"]
    assert [value.name for value in model.graph.outputs] == ["difference"]
    with pytest.raises(Unsupported, match="no form of some operators") as caught:
        graphs.named(drafted("tf.custom"), specs, ["difference"])
    assert caught.value.cause == "Sub"


def test_what_does_not_run_is_told() -> None:
    def call(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise ValueError("shapes are incompatible")

    source = graphs.source_of("test", graphs.Graph(None, {}, {}), (), call)
    assert source.reference is not None
    with pytest.raises(UsageError) as caught:
        source.reference({})
    assert caught.value.cause == "shapes are incompatible"


def test_functions_compiled_by_xla_are_taken_apart() -> None:
    compiled = tf.function(lambda x: tf.nn.relu(x) + 1.0, jit_compile=True)
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    function = tf.function(lambda x: {"y": compiled(x) * 2.0}).get_concrete_function(x=spec)
    model = graphs.exported(graphs.frozen(function), [InputSpec("x", "float32", ("batch", 2))])
    found = run(to_proto(model), {"x": np.array([[-1.0, 3.0]], np.float32)})
    assert found["y"].tolist() == [[2.0, 8.0]]


def test_an_optimizer_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(optimizer.IdentityOptimizer):  # type: ignore[misc]
        def _optimize(self, graph: object) -> object:
            raise KeyError("of tf2onnx")

    kept = {"fails": Failing, **optimizer._get_optimizers()}
    monkeypatch.setattr(optimizer, "_get_optimizers", lambda: kept)
    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="x")
    weight = tf.random.normal((3, 3, 3, 4))
    function = tf.function(lambda x: {"y": tf.nn.conv2d(x, weight, 1, "SAME")})
    frozen = graphs.frozen(function.get_concrete_function(x=spec))
    model = graphs.exported(frozen, [InputSpec("x", "float32", ("batch", 8, 8, 3))])
    assert [node.op_type for node in model.graph].count("Conv") == 1


def test_keras_tells_the_layer_and_the_reason_of_what_does_not_run() -> None:
    def call(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise ValueError("Exception in Add.call().\n\n\x1b[1mBiases must be 1D\x1b[0m\n\nArguments")

    with pytest.raises(UsageError) as caught:
        graphs.guarded(call)({})
    assert caught.value.cause == "Exception in Add.call(). Biases must be 1D"
