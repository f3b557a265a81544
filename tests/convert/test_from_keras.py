from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

# The environment that TensorFlow reads while it is imported.
from modelkit.convert import from_keras  # isort: skip

import keras
import tensorflow as tf
import tf_keras

from modelkit.convert import convert_file
from modelkit.errors import BadInput, UsageError
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

layers = keras.layers


def picture() -> tuple[Any, list[np.ndarray]]:
    """Digits as images, trained for a moment."""
    values, target = tables.digits()
    images = values.reshape(-1, 8, 8, 1).astype(np.float32) / 16
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="img"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, target, epochs=2, verbose=0)
    return model, [images[:7]]


def two_ends() -> tuple[Any, list[np.ndarray]]:
    first, second = keras.Input((4,), name="zz"), keras.Input((3,), name="b")
    joined = layers.Concatenate()([first, second])
    ends = [layers.Dense(2)(joined), layers.Dense(1, activation="sigmoid")(joined)]
    return keras.Model([first, second], ends), [floats(5, 4), floats(5, 3)]


def memory() -> tuple[Any, list[np.ndarray]]:
    model = keras.Sequential([keras.Input((5, 8)), layers.LSTM(12), layers.Dense(3)])
    return model, [floats(6, 5, 8)]


def gates() -> tuple[Any, list[np.ndarray]]:
    both = layers.Bidirectional(layers.GRU(8))
    return keras.Sequential([keras.Input((None, 4)), both]), [floats(2, 9, 4)]


def attention() -> tuple[Any, list[np.ndarray]]:
    start = keras.Input((6, 16))
    mixed = layers.LayerNormalization()(layers.MultiHeadAttention(2, 8)(start, start) + start)
    return keras.Model(start, layers.GlobalAveragePooling1D()(mixed)), [floats(3, 6, 16)]


def exact_gelu() -> tuple[Any, list[np.ndarray]]:
    """A block of ConvNeXt: a convolution in groups, which Keras compiles by XLA, and erfc."""
    start = keras.Input((16, 16, 8))
    mixed = layers.LayerNormalization()(layers.Conv2D(8, 7, padding="same", groups=8)(start))
    wide = layers.Dense(32, activation="gelu")(mixed)
    return keras.Model(start, layers.Add()([start, layers.Dense(8)(wide)])), [floats(2, 16, 16, 8)]


def words() -> tuple[Any, list[np.ndarray]]:
    parts = [keras.Input((7,), dtype="int32"), layers.Embedding(30, 8), layers.Conv1D(8, 3)]
    model = keras.Sequential([*parts, layers.GlobalMaxPooling1D(), layers.Dense(2)])
    return model, [np.random.default_rng(0).integers(0, 30, (4, 7)).astype(np.int32)]


def normalized() -> tuple[Any, list[np.ndarray]]:
    values, target = tables.classes()
    normal = layers.Normalization()
    normal.adapt(values)
    model = keras.Sequential([keras.Input((4,)), normal, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(values, target, epochs=3, verbose=0)
    return model, [values[:20].astype(np.float32)]


def segments() -> tuple[Any, list[np.ndarray]]:
    """A U-Net for images of any size that can be halved twice."""
    x = start = keras.Input((None, None, 3))
    kept = []
    for width in (4, 8):
        kept.append(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
        x = layers.MaxPooling2D()(kept[-1])
    for width, beside in zip((8, 4), reversed(kept), strict=True):
        x = layers.Conv2DTranspose(width, 2, strides=2, padding="same")(x)
        x = layers.Conv2D(width, 3, padding="same")(layers.Concatenate()([beside, x]))
    return keras.Model(start, layers.Softmax()(x)), [floats(2, 24, 44, 3)]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def library(model: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    result = model(values if len(values) > 1 else values[0], training=False)
    return [np.asarray(value) for value in tf.nest.flatten(result)]


MODELS = (picture, two_ends, memory, gates, attention, exact_gelu, words, normalized, segments)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_result_is_what_keras_gives(make: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model, values = make()
    model.save(tmp_path / "m.keras")
    report = convert_file(str(tmp_path / "m.keras"))
    assert report.verification.passed
    assert report.framework.startswith("Keras 3")
    names = [text.split()[0] for text in report.inputs]
    if len(names) > 1:
        # In the order of their names, as a SavedModel keeps them.
        assert names == sorted(value.name for value in model.inputs)
        names = [value.name for value in model.inputs]
    found = run(tmp_path / "m.onnx", dict(zip(names, values, strict=True)))
    for actual, expected in zip(found.values(), library(model, values), strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-6 * max(np.abs(expected).max(), 1))


def test_layers_that_take_no_open_sizes_are_exported_with_those_given(tmp_path: Path) -> None:
    start = keras.Input((None, None, 3), name="image")
    enlarged = layers.UpSampling2D(interpolation="bilinear")(layers.Conv2D(4, 3)(start))
    model = keras.Model(start, enlarged)
    model.save(tmp_path / "m.keras")
    with pytest.raises(BadInput) as raised:
        convert_file(str(tmp_path / "m.keras"))
    assert "UpSampling2D" in raised.value.cause
    assert raised.value.hint.endswith("--input-shape image:batch,224,224,3")
    with pytest.raises(UsageError, match="is not NAME:DIM"):
        convert_file(str(tmp_path / "m.keras"), input_shape=("1,16,20,3",))
    given = ("image:batch,16,20,3",)
    report = convert_file(str(tmp_path / "m.keras"), input_shape=given)
    assert report.verification.passed
    values = floats(2, 16, 20, 3)
    (found,) = run(tmp_path / "m.onnx", {"image": values}).values()
    np.testing.assert_allclose(found, library(model, [values])[0], atol=1e-5)


def test_hdf5_of_both_versions(tmp_path: Path) -> None:
    model, values = picture()
    model.save(tmp_path / "new.h5")
    report = convert_file(str(tmp_path / "new.h5"))
    assert report.framework == "Keras 3 Sequential"
    found = run(tmp_path / "new.onnx", {"img": values[0]})
    np.testing.assert_allclose(next(iter(found.values())), library(model, values)[0], atol=1e-6)
    kinds = tf_keras.layers
    old = tf_keras.Sequential(
        [kinds.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), kinds.Flatten(), kinds.Dense(3)]
    )  # fmt: skip
    old.save(tmp_path / "old.h5")
    report = convert_file(str(tmp_path / "old.h5"))
    assert report.framework == "Keras 2 Sequential"
    found = run(tmp_path / "old.onnx", {report.inputs[0].split()[0]: values[0]})
    np.testing.assert_allclose(next(iter(found.values())), old(values[0]).numpy(), atol=1e-5)


def test_recurrent_layers_of_before_reset_after_and_ids_as_floats(tmp_path: Path) -> None:
    """Keras 2.0 had one GRU, whose files do not say which; ids came as float32."""
    import h5py
    import tf_keras

    part = tf_keras.layers
    words = tf_keras.Sequential(
        [
            tf_keras.Input((6,), name="words"),
            part.Embedding(9, 4),
            part.Bidirectional(part.GRU(5, reset_after=False, recurrent_activation="hard_sigmoid")),
            part.Dense(2),
        ]
    )
    path = tmp_path / "m.h5"
    words.save(str(path))
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        assert '"reset_after": false' in config
        file.attrs["model_config"] = config.replace(', "reset_after": false', "")
    report = convert_file(str(path), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    assert report.inputs == ("words float[batch, 6]",)
    rows = np.random.default_rng(0).integers(0, 9, (7, 6)).astype(np.float32)
    (found,) = run(tmp_path / "m.onnx", {"words": rows}).values()
    np.testing.assert_allclose(found, words(rows).numpy(), atol=1e-5)


def test_weights_alone_are_named_as_such(tmp_path: Path) -> None:
    model, _ = two_ends()
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(BadInput, match="holds weights without a model") as caught:
        convert_file(str(tmp_path / "m.weights.h5"))
    assert "load_weights" in caught.value.hint
    kinds = tf_keras.layers
    tf_keras.Sequential([kinds.Dense(2, input_shape=(3,))]).save_weights(tmp_path / "old.h5")
    with pytest.raises(BadInput, match="holds weights without a model"):
        convert_file(str(tmp_path / "old.h5"))


def test_code_in_lambda_layers_needs_trust(tmp_path: Path) -> None:
    twice = layers.Lambda(lambda x: x * 2)
    model = keras.Sequential([keras.Input((4,)), twice, layers.Dense(1)])
    model.save(tmp_path / "m.keras")
    kinds = tf_keras.layers
    old = tf_keras.Sequential([kinds.Lambda(lambda x: x * 2, input_shape=(4,)), kinds.Dense(1)])
    old.save(tmp_path / "old.h5")
    for name in ("m.keras", "old.h5"):
        with pytest.raises(BadInput, match="Lambda layer, which is Python code") as caught:
            convert_file(str(tmp_path / name))
        assert caught.value.code == "untrusted"
        assert convert_file(str(tmp_path / name), trust_source=True).verification.passed


def test_broken_files_are_told(tmp_path: Path) -> None:
    model, _ = two_ends()
    model.save(tmp_path / "m.h5")
    whole = (tmp_path / "m.h5").read_bytes()
    (tmp_path / "m.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="could not be read as HDF5"):
        convert_file(str(tmp_path / "m.h5"))
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["table"] = [1, 2, 3]
    with pytest.raises(BadInput, match="HDF5 file without a Keras model"):
        convert_file(str(tmp_path / "other.h5"))
    assert callable(from_keras.open_model)


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    model, _ = normalized()
    model.save(tmp_path / "m.keras")
    check_opsets(tmp_path / "m.keras", tmp_path, least=3)
