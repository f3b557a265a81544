from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("jax2onnx")

import jax
import jax.numpy as jnp
from flax import linen
from flax.serialization import msgpack_serialize

from modelkit.convert import convert_file
from modelkit.errors import BadInput, UsageError
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run

HERE = "tests.convert.test_from_jax"


class Digits(linen.Module):  # type: ignore[misc]
    """A small convolution net."""

    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(self, image: Any) -> Any:
        x = linen.relu(linen.Conv(8, (3, 3))(image))
        x = linen.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        return linen.softmax(linen.Dense(10)(x.reshape((x.shape[0], -1))))


def module() -> Digits:
    return Digits()


def scores() -> Any:
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    return lambda x: {"scores": jnp.tanh(x @ weight), "sum": x.sum(axis=1)}


def number() -> int:
    return 3


def images() -> np.ndarray:
    values, _ = tables.digits()
    return values.reshape(-1, 8, 8, 1).astype(np.float32) / 16


def trained(path: Path) -> Any:
    """Parameters after some steps of gradient descent, saved to ``path``."""
    values, target = images()[:200], tables.digits()[1][:200]
    held = module().init(jax.random.PRNGKey(0), values[:1])

    def loss(variables: Any) -> Any:
        found = module().apply(variables, values)
        return -jnp.log(found[jnp.arange(len(target)), target] + 1e-6).mean()

    step = jax.jit(jax.grad(loss))
    for _ in range(10):
        held = jax.tree_util.tree_map(lambda a, g: a - 0.3 * g, held, step(held))
    path.write_bytes(msgpack_serialize(jax.tree_util.tree_map(np.asarray, held)))
    return held


def test_a_flax_module_with_its_parameters(tmp_path: Path) -> None:
    held = trained(tmp_path / "m.msgpack")
    report = convert_file(
        str(tmp_path / "m.msgpack"), model=f"{HERE}:module", input_shape=["image:batch,8,8,1"]
    )
    assert report.framework == "Flax Digits"
    assert report.verification.passed
    assert report.inputs == ("image float[batch, 8, 8, 1]",)
    found = run(tmp_path / "m.onnx", {"image": images()[:9]})
    expected = np.asarray(module().apply(held, images()[:9]))
    np.testing.assert_allclose(found["output"], expected, atol=1e-6)


def test_a_function(tmp_path: Path) -> None:
    report = convert_file(f"jax:{HERE}:scores", str(tmp_path / "m.onnx"), input_shape=["x:batch,4"])
    assert report.framework == "JAX function"
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    found = run(tmp_path / "m.onnx", {"x": x})
    expected = scores()(x)
    assert list(found) == ["scores", "sum"]
    for name, value in found.items():
        np.testing.assert_allclose(value, np.asarray(expected[name]), atol=1e-6)


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shapes of the inputs") as caught:
        convert_file(f"jax:{HERE}:scores", str(tmp_path / "m.onnx"))
    assert "--input-shape x:batch,SIZE" in caught.value.hint
    with pytest.raises(UsageError, match="no function of arrays"):
        convert_file(f"jax:{HERE}:number", str(tmp_path / "m.onnx"))
    trained(tmp_path / "m.msgpack")
    with pytest.raises(UsageError, match="parameters without code"):
        convert_file(str(tmp_path / "m.msgpack"))
    with pytest.raises(BadInput, match="does not run"):
        convert_file(
            str(tmp_path / "m.msgpack"), model=f"{HERE}:module", input_shape=["image:batch,7"]
        )
    (tmp_path / "cut.msgpack").write_bytes((tmp_path / "m.msgpack").read_bytes()[:50])
    with pytest.raises(BadInput, match="could not be read as Flax"):
        convert_file(
            str(tmp_path / "cut.msgpack"), model=f"{HERE}:module", input_shape=["image:batch,8,8,1"]
        )


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    check_opsets(f"jax:{HERE}:scores", tmp_path, input_shape=["x:batch,4"])
