from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modelkit.convert.from_torch import open_model
from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput, UsageError
from tests.convert import samples

HERE = "tests.convert.samples"
SHAPE = ("x:2,8",)


def output(source: Source, x: np.ndarray) -> np.ndarray:
    assert source.reference is not None
    return source.reference({"x": x})["output"]


@pytest.fixture
def trained() -> torch.nn.Module:
    torch.manual_seed(7)
    return samples.Linear()


def test_safetensors_fill_the_module_of_the_factory(
    tmp_path: Path, trained: torch.nn.Module
) -> None:
    path = tmp_path / "net.safetensors"
    save_file(trained.state_dict(), path)
    source = open_model(path, "safetensors", Options(f"{HERE}:linear", SHAPE))
    x = np.ones((3, 8), np.float32)
    expected = trained(torch.ones(3, 8)).detach().numpy()
    np.testing.assert_array_equal(output(source, x), expected)
    assert source.inputs[0].shape == ("batch", 8)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": {f"module.{k}": v for k, v in weights.items()}},
        lambda weights: {"generator": weights, "discriminator": {"w": torch.ones(1)}},
        lambda weights: {f"_orig_mod.{k}": v for k, v in weights.items()},
    ],
)
def test_weights_are_found_where_training_loops_keep_them(
    tmp_path: Path, trained: torch.nn.Module, wrap: object
) -> None:
    assert callable(wrap)
    path = tmp_path / "net.pt"
    torch.save(wrap(trained.state_dict()), path)
    source = open_model(path, "torch", Options(f"{HERE}:linear", SHAPE))
    expected = trained(torch.ones(3, 8)).detach().numpy()
    np.testing.assert_array_equal(output(source, np.ones((3, 8), np.float32)), expected)


def test_weights_without_code_say_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(UsageError) as caught:
        open_model(path, "torch", Options())
    assert "--model module:function" in caught.value.hint


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="do not fit") as caught:
        open_model(path, "torch", Options(f"{HERE}:linear", SHAPE))
    assert "layer.weight" in caught.value.cause
    torch.save([1, 2], path)
    with pytest.raises(BadInput, match="no state_dict"):
        open_model(path, "torch", Options(f"{HERE}:linear", SHAPE))


def test_a_factory_of_something_else_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="made int"):
        open_model(None, "torch", Options(f"{HERE}:number", SHAPE))


@pytest.mark.parametrize(
    ("factory", "hint"),
    [
        ("linear", "add --input-shape x:batch,8"),
        ("picture", "add --input-shape image:batch,3,224,224"),
        (
            "words",
            "add --input-shape ids:batch,sequence:int64 --input-shape mask:batch,sequence:int64",
        ),
    ],
)
def test_missing_shapes_are_answered_with_what_to_type(factory: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_model(None, "torch", Options(f"{HERE}:{factory}"))
    assert caught.value.hint == hint
    assert caught.value.code == "input-shape"


def test_a_shape_the_module_refuses_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"does not run on inputs of shape \[2, 9\]") as caught:
        open_model(None, "torch", Options(f"{HERE}:linear", ("x:2,9",)))
    assert "--input-shape" in caught.value.hint


def test_the_module_is_in_inference_mode_and_its_outputs_keep_their_names() -> None:
    source = open_model(None, "torch", Options(f"{HERE}:picture", ("image:2,3,9,9",)))
    assert source.reference is not None
    feeds = {"image": np.ones((3, 3, 9, 9), np.float32)}
    first, second = source.reference(feeds), source.reference(feeds)
    assert list(first) == ["scores", "features"]
    np.testing.assert_array_equal(first["scores"], second["scores"])


def test_token_ids_stay_below_the_rows_of_their_table() -> None:
    shapes = ("ids:batch,sequence:int64", "mask:batch,sequence:int64")
    ids, mask = open_model(None, "torch", Options(f"{HERE}:words", shapes)).inputs
    assert (ids.role, ids.low, ids.high) == ("ids", 0, 10)
    assert (mask.role, mask.high) == ("mask", 1)


def test_free_axes_grow_until_the_module_runs() -> None:
    """A convolution of stride 2 with a 3x3 window needs more than the smallest lengths."""
    shapes = ("image:batch,3,height,width",)
    source = open_model(None, "torch", Options(f"{HERE}:picture", shapes))
    assert source.inputs[0].shape == ("batch", 3, "height", "width")


@pytest.mark.parametrize("made", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(2, 8))])
def test_torchscript_runs_and_names_its_inputs(
    tmp_path: Path, trained: torch.nn.Module, made: object
) -> None:
    assert callable(made)
    path = tmp_path / "net.pt"
    made(trained.eval()).save(str(path))
    with pytest.raises(UsageError) as caught:
        open_model(path, "torchscript", Options())
    assert caught.value.hint == "add --input-shape x:batch,8"
    source = open_model(path, "torchscript", Options(input_shape=SHAPE))
    expected = trained(torch.ones(3, 8)).detach().numpy()
    np.testing.assert_allclose(output(source, np.ones((3, 8), np.float32)), expected, atol=1e-6)


def test_a_frozen_script_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.freeze(torch.jit.script(samples.linear().eval())).save(str(path))
    source = open_model(path, "torchscript", Options(input_shape=SHAPE))
    assert output(source, np.ones((3, 8), np.float32)).shape == (3, 4)


def test_threads_are_those_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        open_model(None, "torch", Options(f"{HERE}:linear", SHAPE, threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_inputs_named_as_the_arguments_may_come_in_any_order() -> None:
    shapes = ("mask:batch,sequence:int64", "ids:batch,sequence:int64")
    source = open_model(None, "torch", Options(f"{HERE}:words", shapes))
    assert [spec.name for spec in source.inputs] == ["ids", "mask"]
    other = open_model(None, "torch", Options(f"{HERE}:linear", ("features:2,8",)))
    assert other.inputs[0].name == "features"
