from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

# The environment that TensorFlow reads while it is imported.
from modelkit.convert.tensorflow_dilations import merge_dilations  # isort: skip

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx.tf_loader import tf_optimize


def graph_of(call: Any, *shape: int | None) -> Any:
    """The frozen graph of ``call`` with its constants folded, and the names of its ends."""
    spec = tf.TensorSpec(shape, tf.float32, name="x")
    frozen = convert_variables_to_constants_v2(tf.function(call).get_concrete_function(x=spec))
    start, end = frozen.inputs[0].name, frozen.outputs[0].name
    with tf.Graph().as_default():
        return tf_optimize([start], [end], frozen.graph.as_graph_def()), start, end


def computed(definition: Any, start: str, end: str, x: np.ndarray) -> np.ndarray:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(definition, name="")
        found: np.ndarray = session.run(end, {start: x})
    return found


def kinds(definition: Any) -> set[str]:
    return {node.op for node in definition.node}


def same(name: str) -> Any:
    """A dilated convolution of an open length by a Keras layer, or its function."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return tf.constant(random.normal(size=shape).astype(np.float32))

    calls = {
        "rows": lambda x: tf.nn.convolution(x, weights(5, 3, 4), padding="SAME", dilations=[3]),
        "even": lambda x: tf.nn.convolution(x, weights(4, 3, 4), padding="SAME", dilations=[5]),
        "image": lambda x: tf.nn.convolution(
            x, weights(3, 5, 3, 4), padding="SAME", dilations=[2, 4]
        ),
        "channels": lambda x: tf.nn.depthwise_conv2d(
            x, weights(3, 3, 3, 2), [1, 1, 1, 1], "SAME", dilations=[2, 3]
        ),
    }
    return calls[name]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("rows", [(7,), (12,), (1,)]), ("even", [(9,), (20,)]), ("image", [(9, 8), (16, 3)]),
     ("channels", [(5, 9), (12, 12)])],
)  # fmt: skip
def test_dilations_are_written_as_such(name: str, sizes: list[tuple[int, ...]]) -> None:
    open_sizes = [None] * len(sizes[0])
    definition, start, end = graph_of(same(name), None, *open_sizes, 3)
    assert "SpaceToBatchND" in kinds(definition)
    inputs = [np.random.default_rng(1).normal(size=(2, *size, 3)) for size in sizes]
    expected = [computed(definition, start, end, x) for x in inputs]
    assert merge_dilations(definition) == 1
    assert merge_dilations(definition) == 0
    (convolution,) = [node for node in definition.node if "Conv" in node.op]
    assert max(convolution.attr["dilations"].list.i) > 1
    # The processor's kernels have no dilated depthwise convolution; its result is compared in ONNX.
    for x, wanted in zip(inputs, expected, strict=True) if name != "channels" else ():
        found = computed(definition, start, end, x)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_other_blocks_stay() -> None:
    def uneven(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[0, 0], [2, 0]])
        y = tf.nn.conv2d(y, tf.ones([3, 3, 3, 4]), 1, "SAME")
        return tf.batch_to_space(y, [2, 2], [[0, 0], [1, 1]])

    definition, *_ = graph_of(uneven, None, 8, 8, 3)
    assert merge_dilations(definition) == 0
    assert "SpaceToBatchND" in kinds(definition)


def test_crops_at_the_front_stay() -> None:
    def cropped(x: Any) -> Any:
        y = tf.space_to_batch(x, [2, 2], [[2, 2], [2, 2]])
        y = tf.nn.conv2d(y, tf.ones([3, 3, 3, 4]), 1, "VALID")
        return tf.batch_to_space(y, [2, 2], [[1, 0], [1, 0]])

    definition, *_ = graph_of(cropped, None, 8, 8, 3)
    assert merge_dilations(definition) == 0
