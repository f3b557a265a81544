import json
from pathlib import Path

import pytest

from modelkit.errors import BadInput, UsageError
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.data.texts import tokenized
from modelkit.runtime.ports import Port

IDS = Port("input_ids", "int64", ("b", "s"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def ids(folder: Path, texts: list, batch: int = 1, **settings: object) -> list:
    chosen = Preprocessing(**settings)  # type: ignore[arg-type]
    found = tokenized(texts, [IDS], folder, chosen, batch=batch, path=folder)
    return [feeds["input_ids"].tolist() for feeds in found]


def test_padding_and_truncation(folder: Path) -> None:
    assert ids(folder, ["a b a", "b"], batch=2) == [[[1, 2, 1], [2, 0, 0]]]
    assert ids(folder, ["a b a"], max_length=2) == [[[1, 2]]]
    assert ids(folder, ["a b a"], max_length=2, truncation=False) == [[[1, 2, 1]]]
    assert ids(folder, ["a"], max_length=3, padding="max_length") == [[[1, 0, 0]]]
    with pytest.raises(UsageError, match="need padding"):
        ids(folder, ["a b", "b"], batch=2, padding="none")
    with pytest.raises(UsageError, match="--max-length"):
        ids(folder, ["a"], padding="max_length")


def test_the_models_own_length_and_padding_token(folder: Path) -> None:
    facts = {"model_max_length": 2, "pad_token": {"content": "[UNK]"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    assert ids(folder, ["a b a", "b"], batch=2) == [[[1, 2], [2, 3]]]
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    assert ids(folder, ["a b a"]) == [[[1, 2, 1]]]


def test_pairs(folder: Path) -> None:
    assert ids(folder, [("a", "b")]) == [[[1, 2]]]


def test_nothing_to_read_or_to_read_with(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BadInput, match="holds no text"):
        ids(folder, [])
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="not a usable tokenizer"):
        ids(folder, ["a"])
