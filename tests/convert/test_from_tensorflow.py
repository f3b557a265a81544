from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

# The environment that TensorFlow reads while it is imported.
from modelkit.convert import from_tensorflow  # isort: skip

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from modelkit.convert import convert_file
from modelkit.errors import BadInput, UsageError
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

layers = keras.layers


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    values, _ = tables.digits()
    return values.reshape(-1, 8, 8, 1).astype(np.float32) / 16


@pytest.fixture(scope="module")
def trained(images: np.ndarray) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="img"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, tables.digits()[1], epochs=5, verbose=0)
    return model


@pytest.fixture(scope="module")
def saved(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tf") / "saved"
    trained.export(str(folder), verbose=False)
    return folder


class Affine(tf.Module):  # type: ignore[misc]
    """Two inputs, two named outputs, names that do not sort as they are written."""

    def __init__(self) -> None:
        self.weight = tf.Variable(tf.random.normal((4, 2), seed=1))

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32, name="x"),
            tf.TensorSpec([None, 2], tf.float32, name="a"),
        ]
    )
    def serve(self, x: Any, a: Any) -> dict[str, Any]:
        return {"z": tf.nn.relu(x @ self.weight), "b": x @ self.weight - 2 * a}


class Writer(tf.Module):  # type: ignore[misc]
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def serve(self, x: Any) -> dict[str, Any]:
        tf.io.write_file("canary", "sang")
        return {"y": x + 1}


class Shapeless(tf.Module):  # type: ignore[misc]
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])  # type: ignore[untyped-decorator]
    def serve(self, x: Any) -> dict[str, Any]:
        return {"y": x * 2 + 1}


def test_a_saved_model(saved: Path, trained: Any, images: np.ndarray, tmp_path: Path) -> None:
    report = convert_file(str(saved), str(tmp_path / "m.onnx"))
    assert report.inputs == ("img float[batch, 8, 8, 1]",)
    assert report.verification.passed
    found = run(tmp_path / "m.onnx", {"img": images[:9]})
    np.testing.assert_allclose(found["output_0"], np.asarray(trained(images[:9])), atol=1e-6)


def test_names_of_a_signature_stay(tmp_path: Path) -> None:
    module = Affine()
    signatures = {"serving_default": module.serve, "other": module.serve}
    tf.saved_model.save(module, str(tmp_path / "s"), signatures=signatures)
    report = convert_file(str(tmp_path / "s"), str(tmp_path / "m.onnx"))
    assert "--task takes another: other" in report.notes[0]
    x, a = np.random.default_rng(0).random((5, 4)), np.ones((5, 2))
    feeds = {"x": x.astype(np.float32), "a": a.astype(np.float32)}
    found = run(tmp_path / "m.onnx", feeds)
    expected = module.serve(**feeds)
    assert set(found) == {"b", "z"}
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-6)
    with pytest.raises(UsageError, match="no signature is called 'nothing'") as caught:
        convert_file(str(tmp_path / "s"), str(tmp_path / "n.onnx"), task="nothing")
    assert "other" in caught.value.hint


def test_operators_that_write_files_need_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = Writer()
    tf.saved_model.save(module, str(tmp_path / "s"), signatures={"serving_default": module.serve})
    with pytest.raises(BadInput, match="touch files or run Python") as caught:
        convert_file(str(tmp_path / "s"))
    assert caught.value.cause == "WriteFile"
    assert not (tmp_path / "canary").exists()


def test_missing_shapes_are_asked_for(tmp_path: Path) -> None:
    module = Shapeless()
    tf.saved_model.save(module, str(tmp_path / "s"), signatures={"serving_default": module.serve})
    with pytest.raises(UsageError, match="not in the file") as caught:
        convert_file(str(tmp_path / "s"))
    assert "--input-shape x:batch,SIZE" in caught.value.hint
    report = convert_file(str(tmp_path / "s"), input_shape=["x:batch,5"])
    assert report.inputs == ("x float[batch, 5]",)
    with pytest.raises(UsageError, match="which is no input") as caught:
        convert_file(str(tmp_path / "s"), str(tmp_path / "n.onnx"), input_shape=["q:batch,5"])
    assert "inputs: x" in caught.value.hint


def test_a_frozen_graph_whole_and_cut(trained: Any, images: np.ndarray, tmp_path: Path) -> None:
    spec = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="x")
    function = tf.function(lambda x: trained(x)).get_concrete_function(spec)
    graph = convert_variables_to_constants_v2(function).graph.as_graph_def()
    (tmp_path / "f.pb").write_bytes(graph.SerializeToString())
    report = convert_file(str(tmp_path / "f.pb"))
    assert report.inputs == ("x float[batch, 8, 8, 1]",)
    found = run(tmp_path / "f.onnx", {"x": images[:9]})
    expected = np.asarray(trained(images[:9]))
    np.testing.assert_allclose(next(iter(found.values())), expected, atol=1e-6)
    cut = next(node.name for node in graph.node if node.op == "Relu")
    report = convert_file(str(tmp_path / "f.pb"), str(tmp_path / "cut.onnx"), outputs=[cut])
    assert report.outputs[0].startswith(cut)
    inner = next(iter(run(tmp_path / "cut.onnx", {"x": images[:9]}).values()))
    layer = keras.Model(trained.inputs, trained.layers[0].output)
    np.testing.assert_allclose(inner, np.asarray(layer(images[:9])), atol=1e-5)
    with pytest.raises(UsageError, match="no node 'nowhere'"):
        convert_file(str(tmp_path / "f.pb"), str(tmp_path / "n.onnx"), outputs=["nowhere"])


def test_a_checkpoint_of_tensorflow_1(tmp_path: Path) -> None:
    old = tf.compat.v1
    values, target = tables.classes()
    with tf.Graph().as_default(), old.Session() as session:
        x = old.placeholder(tf.float32, [None, 4], name="x")
        labels = old.placeholder(tf.int64, [None], name="labels")
        weight, bias = old.get_variable("w", [4, 3]), old.get_variable("c", [3])
        logits = tf.identity(x @ weight + bias, name="logits")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        step = old.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(old.global_variables_initializer())
        for _ in range(20):
            session.run(step, {x: values, labels: target})
        old.train.Saver().save(session, str(tmp_path / "model"))
        expected = session.run(logits, {x: values})
    report = convert_file(
        str(tmp_path / "model.meta"), str(tmp_path / "m.onnx"), inputs=["x"], outputs=["logits"]
    )
    assert report.framework == "TensorFlow 1 checkpoint"
    found = run(tmp_path / "m.onnx", {"x": values.astype(np.float32)})
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)
    (tmp_path / "model.data-00000-of-00001").unlink()
    with pytest.raises(BadInput, match="a graph without its weights"):
        convert_file(str(tmp_path / "model.meta"), str(tmp_path / "n.onnx"))


def test_a_folder_of_a_training_with_a_flag(tmp_path: Path) -> None:
    """As Saver writes it for a folder: ".meta", and a graph whose shapes an older version wrote."""
    old = tf.compat.v1
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    with tf.Graph().as_default(), old.Session() as session:
        x = old.placeholder(tf.float32, [None, 4], name="x")
        labels = old.placeholder(tf.float32, [None, 3], name="labels")
        training = old.placeholder(tf.bool, name="training")
        weight = old.get_variable("w", [4, 3])
        old.disable_control_flow_v2()
        noisy = old.cond(training, lambda: x * 3.0, lambda: x * 1.0)
        old.enable_control_flow_v2()
        found = tf.nn.softmax(noisy @ weight, name="classes")
        loss = tf.reduce_mean((found - labels) ** 2, name="loss")
        old.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(old.global_variables_initializer())
        expected = session.run(found, {x: rows, training: False})
        old.train.Saver().save(session, f"{tmp_path}/run/")
    assert (tmp_path / "run" / ".meta").is_file()
    with pytest.raises(UsageError, match="saved for training") as caught:
        convert_file(str(tmp_path / "run"), str(tmp_path / "m.onnx"))
    assert "--outputs classes" in caught.value.hint
    report = convert_file(str(tmp_path / "run"), str(tmp_path / "m.onnx"), outputs=["classes"])
    assert report.inputs == ("x float[batch, 4]",)
    assert "training is set to False" in report.notes
    given = run(tmp_path / "m.onnx", {"x": rows})["classes"]
    np.testing.assert_allclose(given, expected, atol=1e-6)
    with pytest.raises(UsageError, match="need training too|need x too"):
        convert_file(
            str(tmp_path / "run"), str(tmp_path / "n.onnx"), inputs=["labels"], outputs=["loss"]
        )


def test_the_graph_of_the_most_steps_is_taken(tmp_path: Path) -> None:
    for steps in (900, 1000, 20):
        (tmp_path / f"model.ckpt-{steps}.meta").write_bytes(b"")
    assert from_tensorflow._latest(tmp_path).name == "model.ckpt-1000.meta"


def test_files_that_are_read_beside_the_cut_need_no_trust(tmp_path: Path) -> None:
    old = tf.compat.v1
    with tf.Graph().as_default() as graph:
        x = old.placeholder(tf.float32, [None], name="x")
        read = tf.io.decode_raw(tf.io.read_file("rows"), tf.float32)
        batch = old.placeholder_with_default(read, [None], name="batch")
        tf.multiply(tf.exp(batch), x, name="grown")
    source = str(tmp_path / "g.pb")
    Path(source).write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(BadInput, match="touch files"):
        convert_file(source, str(tmp_path / "m.onnx"), inputs=["x"])
    report = convert_file(source, str(tmp_path / "m.onnx"), inputs=["x", "batch"])
    assert len(report.inputs) == 2


@pytest.mark.parametrize("kind", ["float", "int8", "int8 ends"])
def test_tensorflow_lite(kind: str, saved: Path, images: np.ndarray, tmp_path: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images[:40])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "int8 ends":
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    path = tmp_path / "m.tflite"
    path.write_bytes(converter.convert())
    report = convert_file(str(path))
    assert report.verification.passed
    assert report.framework.endswith("quantized") == (kind != "float")
    interpreter = tf.lite.Interpreter(str(path))
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = images[:8]
    if kind == "int8 ends":
        scale, zero = given["quantization"]
        rows = np.clip(np.round(rows / scale + zero), -128, 127).astype(np.int8)
    interpreter.resize_tensor_input(given["index"], rows.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], rows)
    interpreter.invoke()
    expected = interpreter.get_tensor(taken["index"])
    found = run(tmp_path / "m.onnx", {report.inputs[0].split()[0]: rows})
    actual = next(iter(found.values()))
    assert actual.dtype == expected.dtype
    limit = {"float": 1e-6, "int8": 0.005, "int8 ends": 1}[kind]
    assert np.abs(actual.astype(float) - expected.astype(float)).max() <= limit
    assert (actual.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_weights_of_tensorflow_lite_in_8_bits(tmp_path: Path) -> None:
    first, second = (tf.random.stateless_normal([128, 128], [0, seed]) / 11 for seed in (1, 2))
    spec = tf.TensorSpec([4, 128], tf.float32, name="x")
    call = tf.function(lambda x: {"y": tf.nn.relu(x @ first) @ second})
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function(spec)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path = tmp_path / "m.tflite"
    path.write_bytes(converter.convert())
    report = convert_file(str(path))
    assert report.framework == "TensorFlow Lite, weights quantized"
    assert report.verification.tolerance == "25 dB"


def test_broken_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x90\x90")
    with pytest.raises(BadInput, match="could not be loaded by TensorFlow"):
        convert_file(str(tmp_path / "s"))
    (tmp_path / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    with pytest.raises(BadInput, match="could not be loaded by TensorFlow"):
        convert_file(str(tmp_path / "m.tflite"))
    assert callable(from_tensorflow.open_model)


def test_the_opset_asked_for_is_written_or_refused(saved: Path, tmp_path: Path) -> None:
    check_opsets(saved, tmp_path, least=3)
