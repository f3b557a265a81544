from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from modelkit.convert import convert_file
from modelkit.errors import BadInput
from tests.convert import parts, samples
from tests.models import run

peft = pytest.importorskip("peft")

FEEDS = {
    "input_ids": np.array([[5, 6, 7, 8, 9], [11, 12, 13, 2, 2]], np.int64),
    "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int64),
    "token_type_ids": np.zeros((2, 5), np.int64),
}


def adapter(folder: Path) -> tuple[Any, Path]:
    """A trained adapter of a random BERT that lies beside it."""
    samples.bert_folder(folder / "base", "BertForSequenceClassification")
    base = transformers.BertForSequenceClassification.from_pretrained(folder / "base")
    settings = peft.LoraConfig(
        r=4, target_modules=["query", "value"], modules_to_save=["classifier"]
    )
    model = peft.get_peft_model(base, settings)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1.0)
    for _ in range(5):
        tensors = {name: torch.from_numpy(value) for name, value in FEEDS.items()}
        model(**tensors, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "adapter")
    return model.eval(), folder / "adapter"


def test_an_adapter_is_merged_into_its_base(tmp_path: Path) -> None:
    model, folder = adapter(tmp_path)
    report = convert_file(str(folder), str(tmp_path / "m.onnx"))
    assert report.framework == "LORA adapter of Hugging Face bert (text-classification)"
    assert report.verification.passed
    with torch.no_grad():
        tensors = {name: torch.from_numpy(value) for name, value in FEEDS.items()}
        expected = model(**tensors).logits.numpy()
        with model.disable_adapter():
            plain = model(**tensors).logits.numpy()
    found = run(tmp_path / "m.onnx", FEEDS)["logits"]
    np.testing.assert_allclose(found, expected, atol=3e-6)
    assert np.abs(expected - plain).max() > 1e-3, "the adapter does something"


def test_the_base_must_be_on_disk(tmp_path: Path) -> None:
    _, folder = adapter(tmp_path)
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(BadInput, match="is not on this disk") as caught:
        convert_file(str(folder))
    assert "nothing is downloaded" in caught.value.cause


@pytest.mark.parametrize(
    ("build", "task", "route"),
    [
        (parts.llama, None, "graph capture"),
        (parts.t5, "encoder", "tracing"),
        (parts.t5, "decoder", "tracing"),
        (parts.bart, "decoder", "graph capture"),
        (parts.bart, "decoder-first", "graph capture"),
        (parts.t5, "decoder-with-past", "tracing"),
        (parts.whisper, "decoder", "graph capture"),
        (parts.whisper, "decoder-first", "graph capture"),
        (parts.gemma3, None, "graph capture"),
        (parts.clip, "textual", "graph capture"),
        (parts.clip, "visual", "graph capture"),
        (parts.wav2vec2, None, "graph capture"),
        (parts.swin, None, "tracing"),
        (parts.resnet, None, "graph capture"),
        (parts.convnext, None, "graph capture"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_every_kind_of_folder_is_exported(
    build: Any, task: str | None, route: str, tmp_path: Path
) -> None:
    """Slow ones, which only the environment of all frameworks runs."""
    parts.made(build).save_pretrained(tmp_path / "folder")
    report = convert_file(str(tmp_path / "folder"), str(tmp_path / "m.onnx"), task=task)
    assert report.verification.passed
    assert report.attempts[-1].route == route
    assert len({str(trial.shapes) for trial in report.verification.trials}) == 2
