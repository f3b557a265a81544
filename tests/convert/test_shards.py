import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modelkit.convert import convert_file
from modelkit.convert.shards import index_of, is_index, shards_of
from modelkit.errors import BadInput, UsageError
from tests.convert import samples
from tests.models import run

LINEAR = "tests.convert.samples:linear"


def sharded(folder: Path, ending: str) -> Path:
    """The two weights of a linear layer, one a file, as accelerate writes them."""
    weights = samples.linear().state_dict()
    places = {}
    for number, (name, value) in enumerate(weights.items(), 1):
        file = folder / f"model-{number:05}-of-00002.{ending}"
        places[name] = file.name
        if ending == "safetensors":
            save_file({name: value}, file)
        else:
            torch.save({name: value}, file)
    index = folder / f"model.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 144}, "weight_map": places}))
    return index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_the_parts_make_the_whole(ending: str, tmp_path: Path) -> None:
    index = sharded(tmp_path, ending)
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    expected = samples.linear()(torch.from_numpy(x)).detach().numpy()
    for number, source in enumerate((index, tmp_path)):
        target = tmp_path / f"{number}.onnx"
        report = convert_file(str(source), str(target), model=LINEAR, input_shape=["x:2,8"])
        assert report.framework == "PyTorch"
        assert "index" in report.detected
        np.testing.assert_allclose(run(target, {"x": x})["output"], expected, atol=1e-6)


def test_the_real_writer_of_indices_is_understood(tmp_path: Path) -> None:
    """transformers' own shards, taken as plain weights."""
    import transformers

    model = transformers.BertModel(samples.bert_config())
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    (tmp_path / "config.json").unlink()
    files = shards_of(index_of(tmp_path))
    assert len(files) > 1
    assert sum(map(len, files.values())) == len(model.state_dict())
    assert is_index(index_of(tmp_path))


def test_without_code_the_folder_is_named_where_it_tells_more(tmp_path: Path) -> None:
    index = sharded(tmp_path, "safetensors")
    with pytest.raises(UsageError, match="weights without code") as caught:
        convert_file(str(index))
    assert "--model" in caught.value.hint and str(tmp_path) not in caught.value.hint
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError) as caught:
        convert_file(str(index))
    assert str(tmp_path) in caught.value.hint


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    index = sharded(tmp_path, "safetensors")
    second = tmp_path / "model-00002-of-00002.safetensors"
    save_file({"other": torch.zeros(1)}, second)
    with pytest.raises(BadInput, match=r"no weights for layer\.bias"):
        convert_file(str(index), model=LINEAR, input_shape=["x:2,8"])
    second.unlink()
    with pytest.raises(BadInput, match="needs model-00002-of-00002.safetensors"):
        convert_file(str(index), model=LINEAR, input_shape=["x:2,8"])
    for name in ("../outside.safetensors", "/etc/passwd", 3):
        index.write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(BadInput, match="outside its folder"):
            shards_of(index)
    index.write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(BadInput, match="no weight_map"):
        shards_of(index)
    (tmp_path / "ema.safetensors.index.json").write_text("{}")
    with pytest.raises(BadInput, match="holds 2 checkpoints"):
        index_of(tmp_path)


def test_a_pickle_among_shards_needs_trust(tmp_path: Path) -> None:
    index = sharded(tmp_path, "bin")
    torch.save({"layer.bias": samples.Linear()}, tmp_path / "model-00002-of-00002.bin")
    with pytest.raises(BadInput) as caught:
        convert_file(str(index), model=LINEAR, input_shape=["x:2,8"])
    assert caught.value.code == "untrusted"
