import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modelkit.convert.hf_folder import example, input_names, input_specs, pretrained
from modelkit.errors import BadInput, Unsupported
from modelkit.model import InputSpec
from tests.convert import samples


class Takes(torch.nn.Module):  # type: ignore[misc]
    def forward(self, input_ids: int = 0, attention_mask: int = 0, token_type_ids: int = 0) -> int:
        return 0


class Both(torch.nn.Module):  # type: ignore[misc]
    def forward(self, input_ids: int, pixel_values: int) -> int:
        return 0


def test_token_types_are_an_input_only_where_there_are_several() -> None:
    text = ["input_ids", "attention_mask"]
    assert input_names(Takes(), {"type_vocab_size": 2}) == [*text, "token_type_ids"]
    assert input_names(Takes(), {"type_vocab_size": 1}) == text
    assert input_names(Takes(), {}) == text


def test_models_of_several_kinds_of_input_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="input_ids, pixel_values"):
        input_names(Both(), {})
    with pytest.raises(Unsupported):
        input_names(Takes(), {"is_encoder_decoder": True})


def test_ids_stay_off_the_padding_and_below_the_vocabulary() -> None:
    spec = input_specs(["input_ids"], {"vocab_size": 40, "pad_token_id": 1})[0]
    assert (spec.shape, spec.low, spec.high) == (("batch", "sequence"), 2, 39)
    picture = input_specs(["pixel_values"], {"image_size": 30, "num_channels": 1})[0]
    assert picture.shape == ("batch", 1, 30, 30)
    with pytest.raises(BadInput, match="impossible size"):
        input_specs(["input_ids"], {"vocab_size": "many"})


def test_an_example_stays_in_its_range() -> None:
    spec = InputSpec("input_ids", "int64", ("batch", "sequence"), "ids", 1, 5)
    found = example(spec, torch.Generator().manual_seed(0))
    assert found.shape == (2, 9)
    assert int(found.min()) >= 1 and int(found.max()) <= 5


def test_missing_weights_are_never_random_numbers(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path, "BertModel")
    with pytest.raises(BadInput, match=r"no weights for classifier\.bias") as caught:
        pretrained("AutoModelForSequenceClassification", folder)
    assert "--task" in caught.value.hint
    assert not pretrained("AutoModel", folder).training


def test_the_pooler_may_be_missing_where_no_output_needs_it(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path, "BertForMaskedLM")
    assert pretrained("AutoModel", folder, unused=("pooler.",)) is not None
    with pytest.raises(BadInput, match="pooler"):
        pretrained("AutoModel", folder)


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    folder = samples.bert_folder(tmp_path / "bert", "BertModel")
    (folder / "own.py").write_text(f"open({str(canary)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="could not load"):
        pretrained("AutoModel", folder)
    assert not canary.exists()


def test_broken_weights_are_bad_input(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path, "BertModel")
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(BadInput, match="could not load"):
        pretrained("AutoModel", folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="could not load"):
        pretrained("AutoModel", folder)


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_a_bomb_among_pickled_weights_does_not_go_off(tmp_path: Path) -> None:
    folder, canary = samples.bert_folder(tmp_path / "bert", "BertModel"), tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Bomb(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match="could not load"):
        pretrained("AutoModel", folder)
    assert not canary.exists()


def test_plain_pickled_weights_are_loaded(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path, "BertModel")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    found = pretrained("AutoModel", folder).state_dict()
    assert torch.equal(found["pooler.dense.bias"], weights["pooler.dense.bias"])
