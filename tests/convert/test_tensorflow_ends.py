from typing import Any

import pytest

pytest.importorskip("tensorflow")

# The environment that TensorFlow reads while it is imported.
from modelkit.convert import tensorflow_graphs  # isort: skip

import tensorflow as tf

from modelkit.convert import tensorflow_ends as ends

old = tf.compat.v1
assert tensorflow_graphs.OPSET


def network() -> Any:
    """Dropout by tf.cond on a flag, a default for the scale, a label and a loss."""
    with tf.Graph().as_default() as graph:
        x = old.placeholder(tf.float32, [None, 4], name="x")
        training = old.placeholder(tf.bool, name="training")
        scale = old.placeholder_with_default(tf.constant(2.0), [], name="scale")
        labels = old.placeholder(tf.float32, [None, 4], name="labels")
        with old.control_dependencies([tf.constant(0)]):
            old.disable_control_flow_v2()
            dropped = old.cond(training, lambda: x * 0.5, lambda: x + 0.0, name="drop")
            old.enable_control_flow_v2()
        found = tf.sigmoid(dropped * scale, name="result")
        tf.reduce_mean((found - labels) ** 2, name="loss")
        return graph.as_graph_def()


def test_results_are_what_nobody_reads_and_nothing_that_steers() -> None:
    definition = network()
    assert ends.placeholders(definition) == ["x", "training", "labels"]
    assert ends.results(definition, ["x", "training"]) == ["loss"]
    assert ends.likeliest(definition, ["loss", "result"]) == ["result", "loss"]


def test_what_lies_between() -> None:
    definition = network()
    held = {node.name for node in ends.between(definition, ["x"], ["result"])}
    assert {"x", "training", "scale", "result"} <= held
    assert not {"labels", "loss"} & held
    assert [node.name for node in ends.between(definition, ["result"], ["result"])] == ["result"]


def test_flags_are_off_and_defaults_are_kept_unless_they_are_inputs() -> None:
    definition = network()
    needed = ends.between(definition, ["x"], ["result"])
    assert ends.settled(needed, ["x"]) == ["training"]
    kinds = {node.name: node.op for node in definition.node}
    assert (kinds["training"], kinds["scale"], kinds["x"]) == ("Const", "Identity", "Placeholder")
    definition = network()
    needed = ends.between(definition, ["x", "scale"], ["result"])
    assert ends.settled(needed, ["x", "training", "scale:0"]) == []
    kinds = {node.name: node.op for node in definition.node}
    assert (kinds["training"], kinds["scale"]) == ("Placeholder", "Placeholder")


def test_rows_by_what_they_are_read_with() -> None:
    with tf.Graph().as_default() as graph:
        words = old.placeholder(tf.float32, [None, 3], name="words")
        marks = old.placeholder(tf.int32, [None, 3], name="marks")
        tf.gather(tf.zeros([13, 2]), tf.cast(words, tf.int32))
        tf.gather(tf.zeros([5, 2]), tf.reshape(marks, [-1]))
        tf.gather(tf.zeros([4, 2]), marks)
    assert ends.indexed_rows(graph.as_graph_def()) == {"words": 13, "marks": 4}


def test_functions_that_are_called_count() -> None:
    inner = tf.function(tf.exp)
    spec = tf.TensorSpec([None], tf.float32, name="x")
    outer = tf.function(lambda x: inner(x) + 1).get_concrete_function(x=spec)
    definition = outer.graph.as_graph_def()
    assert "Exp" in ends.operators(definition, list(definition.node))
    assert "Exp" not in ends.operators(definition, list(definition.node)[:1])


def test_names_of_tensors() -> None:
    assert ends.tensor("x") == "x:0"
    assert ends.tensor("x:1") == "x:1"
    assert ends.short("x:0") == "x"
    assert ends.short("x:1") == "x:1"
