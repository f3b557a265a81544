"""Keras models through tf2onnx; in TensorFlow's environment: ``python keras_models.py NAME OUT``.

``keras_cnn`` is ours: squeeze-excite blocks, depthwise convolutions, batch normalization and a tanh
Gelu, as ``keras.applications`` writes them; so are ``keras_senet``, whose squeeze-excite blocks are
dense layers, ``keras_unet``, for images of any size, ``keras_encoder``, a transformer of Keras' own layers, and
``keras_rnn``, recurrent layers over series of any length.  The others are from there.
"""

import sys
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers
from tf2onnx.tf_loader import from_saved_model

_SIDE = 96
_WIDTH, _HEADS = 384, 6
_BY_SAVED_MODEL = ("keras_efficientnet", "keras_encoder", "keras_rnn", "keras_unet")
"""What a bare function loses the constants of, and what nobody exports without one."""
_ENDS = {"keras_encoder": ("states", "encoded"), "keras_rnn": ("series", "scores")}
_APPLICATIONS = {
    "keras_efficientnet": ("EfficientNetB0", {}),
    "keras_mobilenet": ("MobileNetV3Small", {"include_preprocessing": False}),
    "keras_resnet": ("ResNet50V2", {}),
}


def _block(x: Any, width: int, stride: int) -> Any:
    inner = 4 * x.shape[-1]
    y = layers.Conv2D(inner, 1, use_bias=False)(x)
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(y)
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(max(8, inner // 16), 1, activation="relu")(gate)
    gate = layers.Conv2D(inner, 1, activation="sigmoid")(gate)
    y = layers.Conv2D(width, 1, use_bias=False)(layers.Multiply()([y, gate]))
    y = layers.BatchNormalization()(y)
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == width else y


def _own() -> Any:
    pixels = layers.Input((_SIDE, _SIDE, 3), name="pixels")
    x = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(pixels)
    for width, stride in ((32, 1), (64, 2), (64, 1), (96, 2), (96, 1)):
        x = _block(x, width, stride)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Dense(256)(layers.GlobalAveragePooling2D()(x))
    x = keras.activations.gelu(x, approximate=True)
    return keras.Model(pixels, layers.Dense(100, activation="softmax", name="scores")(x))


def _dense_gate(x: Any) -> Any:
    width = x.shape[-1]
    gate = layers.Reshape((1, 1, width))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(width // 16, activation="relu", use_bias=False)(gate)
    return layers.Multiply()([x, layers.Dense(width, activation="sigmoid", use_bias=False)(gate)])


def _bottleneck(x: Any, out: int, stride: int) -> Any:
    y = x
    for width, kernel, step in ((out // 4, 1, 1), (out // 4, 3, stride)):
        y = layers.Conv2D(width, kernel, step, padding="same", use_bias=False)(y)
        y = layers.Activation("relu")(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(out, 1, use_bias=False)(y))
    if x.shape[-1] != out:
        x = layers.BatchNormalization()(layers.Conv2D(out, 1, stride, use_bias=False)(x))
    return layers.Activation("relu")(layers.Add()([_dense_gate(y), x]))


def _senet() -> Any:
    pixels = layers.Input((_SIDE, _SIDE, 3), name="pixels")
    x = layers.Conv2D(64, 7, 2, padding="same", use_bias=False)(pixels)
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    for out, stride in ((256, 1), (256, 1), (512, 2), (512, 1), (1024, 2), (1024, 1)):
        x = _bottleneck(x, out, stride)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(100, activation="softmax", name="scores")(x))


def _pair(x: Any, width: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return x


def _unet() -> Any:
    pixels = x = layers.Input((None, None, 3), name="pixels")
    kept = []
    for width in (32, 64, 128):
        kept.append(_pair(x, width))
        x = layers.MaxPooling2D()(kept[-1])
    x = _pair(x, 256)
    for width, beside in zip((128, 64, 32), reversed(kept), strict=True):
        x = layers.Conv2D(width, 2, padding="same")(layers.UpSampling2D()(x))
        x = _pair(layers.Concatenate()([beside, x]), width)
    return keras.Model(pixels, layers.Conv2D(2, 1, activation="softmax", name="scores")(x))


def _encoder() -> Any:
    x = states = layers.Input((None, _WIDTH), name="states")
    for _ in range(4):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS)(y, y)])
        y = layers.Dense(4 * _WIDTH)(layers.LayerNormalization()(x))
        y = layers.Dense(_WIDTH)(keras.activations.gelu(y, approximate=True))
        x = layers.Add()([x, y])
    return keras.Model(states, layers.LayerNormalization()(x))


def _recurrent() -> Any:
    x = series = layers.Input((None, 32), name="series")
    x = layers.Bidirectional(layers.LSTM(96, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(64))(x)
    return keras.Model(series, layers.Dense(10, activation="softmax", name="scores")(x))


def network(name: str) -> Any:
    """The model, its biases, gains and statistics moved away from 0 and 1."""
    keras.utils.set_random_seed(0)
    own = {
        "keras_cnn": _own,
        "keras_encoder": _encoder,
        "keras_rnn": _recurrent,
        "keras_senet": _senet,
        "keras_unet": _unet,
    }
    kind, options = _APPLICATIONS.get(name, ("", {}))
    model = getattr(keras.applications, kind)(weights=None, **options) if kind else own[name]()
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign_add(0.1 * random.random(weight.shape) - 0.05)
    return model


def _by_function(model: Any, ends: tuple[str, str], place: str) -> None:
    start, end = ends
    call = tf.function(
        lambda x: {end: model(x, training=False)},
        input_signature=[tf.TensorSpec(model.input_shape, tf.float32, name=start)],
    )
    tf2onnx.convert.from_function(
        call,
        input_signature=call.input_signature,
        opset=17,
        output_path=place,
    )


def _by_saved_model(model: Any, ends: tuple[str, str], place: str) -> None:
    with TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        graph, inputs, outputs = from_saved_model(folder, None, None)
        tf2onnx.convert.from_graph_def(
            graph,
            input_names=inputs,
            output_names=outputs,
            opset=18,
            tensors_to_rename=dict(zip((*inputs, *outputs), ends, strict=True)),
            output_path=place,
        )


def main() -> None:
    """Write the model as tf2onnx gives it by default: NHWC, with transposes."""
    name, place = sys.argv[1:]
    ends = _ENDS.get(name, ("pixels", "scores"))
    export = _by_saved_model if name in _BY_SAVED_MODEL else _by_function
    export(network(name), ends, place)


if __name__ == "__main__":
    main()
