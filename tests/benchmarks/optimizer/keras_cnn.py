"""Keras CNNs through tf2onnx; in TensorFlow's environment: ``python keras_cnn.py NAME OUT``.

``keras_cnn`` is ours: squeeze-excite blocks, depthwise convolutions, batch normalization and a tanh
Gelu, as ``keras.applications`` writes them.  The others are from there.
"""

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers

_SIDE = 96
_APPLICATIONS = {
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


def network(name: str) -> Any:
    """The model, its biases, gains and statistics moved away from 0 and 1."""
    keras.utils.set_random_seed(0)
    kind, options = _APPLICATIONS.get(name, ("", {}))
    model = getattr(keras.applications, kind)(weights=None, **options) if kind else _own()
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign_add(0.1 * random.random(weight.shape) - 0.05)
    return model


def main() -> None:
    """Write the model as tf2onnx gives it by default: NHWC, with transposes."""
    name, place = sys.argv[1:]
    model = network(name)
    call = tf.function(
        lambda pixels: {"scores": model(pixels, training=False)},
        input_signature=[tf.TensorSpec(model.input_shape, tf.float32, name="pixels")],
    )
    tf2onnx.convert.from_function(
        call,
        input_signature=call.input_signature,
        opset=17,
        output_path=place,
    )


if __name__ == "__main__":
    main()
