from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from modelkit.convert import tensorflow_graphs as graphs  # isort: skip

import tensorflow as tf
from onnx_ir import to_proto

from modelkit.errors import Unsupported
from modelkit.model import InputSpec
from tests.models import run

VALUES = [-3.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 2.0, 30.0]
SIGN = tf.int32.min


def converted(call: Callable[[Any], Any]) -> Any:
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    function = tf.function(lambda x: {"y": call(x)}).get_concrete_function(x=spec)
    inputs = [InputSpec("x", "float32", ("batch", 2))]
    return to_proto(graphs.exported(graphs.frozen(function), inputs))


def signbit(x: Any) -> Any:
    return tf.less(tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), SIGN), 0)


@pytest.mark.parametrize(
    ("call", "tolerance"),
    [
        (tf.math.erfc, 3e-7),
        (tf.math.expm1, 3e-7),
        (lambda x: tf.math.log1p(tf.abs(x)), 3e-7),
        (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5, 2.0]), 0),
        (signbit, 0),
    ],
    ids=["Erfc", "Expm1", "Log1p", "Bucketize", "Bitcast"],
)
def test_the_same_numbers(call: Callable[[Any], Any], tolerance: float) -> None:
    model = converted(call)
    for rows in (0, 1, 5):
        x = np.array(VALUES[: 2 * rows], np.float32).reshape(rows, 2)
        wanted = call(tf.constant(x)).numpy()
        found = run(model, {"x": x})
        assert found["y"].dtype == wanted.dtype
        np.testing.assert_allclose(
            found["y"].astype(np.float64), wanted.astype(np.float64), tolerance, tolerance
        )


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tf.math.real(tf.signal.rfft(x)),
        lambda x: tf.math.imag(tf.signal.rfft(x)),
        lambda x: tf.cast(tf.signal.rfft(x, [2]), tf.float32) + 1.0,
        lambda x: tf.math.real(tf.expand_dims(tf.signal.rfft(x), 1)),
        lambda x: tf.abs(tf.signal.rfft(x)),
        lambda x: tf.math.real(tf.signal.rfft2d(tf.reshape(x, [-1, 1, 2]))),
    ],
    ids=["real", "imaginary", "cast", "moved", "magnitude", "plane"],
)
def test_parts_of_a_fourier_transform(call: Callable[[Any], Any]) -> None:
    model = converted(call)
    for rows in (1, 5):
        x = np.array(VALUES[: 2 * rows], np.float32).reshape(rows, 2)
        found = run(model, {"x": x})["y"]
        np.testing.assert_allclose(found, call(tf.constant(x)).numpy(), 1e-6, 1e-6)


def test_a_negative_zero_keeps_its_sign() -> None:
    found = run(converted(signbit), {"x": np.array([[-0.0, 0.0]], np.float32)})
    assert found["y"].tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: tf.bitcast(x, tf.int32) + 1, "Bitcast"),
        (tf.math.erfinv, "Erfinv"),
    ],
)
def test_what_has_no_form_is_refused_by_name(call: Callable[[Any], Any], named: str) -> None:
    with pytest.raises(Unsupported, match="knows no form") as caught:
        converted(call)
    assert caught.value.cause == named


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_of_tensorflow_lite(approximate: bool, tmp_path: Path) -> None:
    spec = tf.TensorSpec([3, 8], tf.float32, name="x")
    call = tf.function(lambda x: {"y": tf.nn.gelu(x, approximate=approximate)})
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function(spec)])
    path = tmp_path / "gelu.tflite"
    path.write_bytes(converter.convert())
    model = to_proto(graphs.through_tf2onnx(lambda: graphs.translated_lite(str(path))))
    x = np.linspace(-6, 6, 24, dtype=np.float32).reshape(3, 8)
    (found,) = run(model, {model.graph.input[0].name: x}).values()
    np.testing.assert_allclose(found, tf.nn.gelu(x, approximate=approximate), atol=1e-6)
