import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from modelkit.convert import convert_file
from modelkit.convert.from_transformers import TASKS, open_model
from modelkit.convert.source import Options
from modelkit.errors import BadInput, Unsupported, UsageError
from tests.convert import samples
from tests.models import run

FEEDS = {
    "input_ids": np.array([[5, 6, 7, 8, 9], [11, 12, 13, 2, 2]], np.int64),
    "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int64),
    "token_type_ids": np.array([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]], np.int64),
}


def library(folder: Path, loader: str) -> transformers.modeling_outputs.ModelOutput:
    """What transformers itself gives for FEEDS."""
    model = getattr(transformers, loader).from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**{name: torch.from_numpy(value) for name, value in FEEDS.items()})


@pytest.mark.parametrize(
    ("kind", "loader", "outputs"),
    [
        ("BertForSequenceClassification", "AutoModelForSequenceClassification", ["logits"]),
        ("BertForMaskedLM", "AutoModelForMaskedLM", ["logits"]),
    ],
)
def test_the_task_is_that_of_the_architecture(
    tmp_path: Path, kind: str, loader: str, outputs: list[str]
) -> None:
    folder = samples.bert_folder(tmp_path / "bert", kind)
    report = convert_file(str(folder), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    assert report.attempts[0].route == "graph capture"
    assert len({str(trial.shapes) for trial in report.verification.trials}) == 2
    found = run(tmp_path / "m.onnx", FEEDS)
    assert list(found) == outputs
    expected = library(folder, loader)
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name].numpy(), atol=2e-6)
    assert "config.json" in report.copied


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_the_reference_is_the_library(tmp_path: Path, kind: str, task: str) -> None:
    folder = samples.bert_folder(tmp_path, kind)
    if kind == "BertForQuestionAnswering":
        folder = tmp_path / "qa"
        config = samples.bert_config()
        config.num_labels = 2
        transformers.BertForQuestionAnswering(config).save_pretrained(folder)
    source = open_model(folder, "transformers", Options())
    assert source.framework == f"Hugging Face bert ({task})"
    assert source.reference is not None
    found = source.reference(FEEDS)
    loader, names = TASKS[task]
    expected = library(folder, loader)
    assert list(found) == list(names)
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name].numpy())


def test_images(tmp_path: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        image_size=16, patch_size=8, num_labels=3,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    report = convert_file(str(tmp_path / "vit"), str(tmp_path / "m.onnx"))
    assert report.inputs == ("pixel_values float[batch, 3, 16, 16]",)
    assert report.verification.passed


def test_a_task_the_folder_was_not_trained_for_is_refused(tmp_path: Path) -> None:
    folder = samples.bert_folder(tmp_path, "BertModel")
    with pytest.raises(BadInput, match="no weights for"):
        open_model(folder, "transformers", Options(task="text-classification"))
    with pytest.raises(UsageError, match="no task is called 'poetry'") as caught:
        open_model(folder, "transformers", Options(task="poetry"))
    assert "fill-mask" in caught.value.hint


def test_an_architecture_without_a_route_is_named(tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM\x1b[31m"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unsupported, match="LlamaForCausalLM") as caught:
        open_model(tmp_path, "transformers", Options())
    assert "\x1b" not in caught.value.message
