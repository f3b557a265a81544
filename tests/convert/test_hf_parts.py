from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.from_transformers import open_model
from modelkit.convert.hf_parts import with_past
from modelkit.convert.source import Options
from modelkit.errors import Unsupported, UsageError
from tests.convert import parts
from tests.models import Feeds, run

IDS = torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 14, 39]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def saved(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def reference(folder: Path, task: str, feeds: dict[str, torch.Tensor]) -> Feeds:
    source = open_model(folder, "transformers", Options(task=task))
    assert source.reference is not None
    assert [spec.name for spec in source.inputs] == list(feeds)
    return source.reference({name: value.numpy() for name, value in feeds.items()})


def check(found: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("build", [parts.t5, parts.bart], ids=lambda build: build.__name__)
def test_encoder_and_decoder_make_the_whole(build: object, tmp_path: Path) -> None:
    assert callable(build)
    model = parts.made(build)
    folder = saved(model, tmp_path)
    encoded = reference(folder, "encoder", {"input_ids": IDS, "attention_mask": MASK})
    hidden = torch.from_numpy(encoded["last_hidden_state"])
    targets = torch.tensor([[3, 4, 5], [6, 7, 8]])
    feeds = {
        "input_ids": targets,
        "encoder_hidden_states": hidden,
        "encoder_attention_mask": MASK,
    }
    found = reference(folder, "decoder", feeds)
    whole = model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=targets)
    check(found["logits"], whole.logits)


def test_sound_to_text(tmp_path: Path) -> None:
    model = parts.made(parts.whisper)
    folder = saved(model, tmp_path)
    sound = torch.randn(2, 8, 40)
    encoded = reference(folder, "encoder", {"input_features": sound})
    hidden = torch.from_numpy(encoded["last_hidden_state"])
    targets = torch.tensor([[3, 4, 5], [6, 7, 8]])
    found = reference(folder, "decoder", {"input_ids": targets, "encoder_hidden_states": hidden})
    check(found["logits"], model(input_features=sound, decoder_input_ids=targets).logits)


def test_the_towers_of_clip(tmp_path: Path) -> None:
    model = parts.made(parts.clip)
    folder = saved(model, tmp_path)
    pixels = torch.randn(2, 3, 16, 16)
    whole = model(input_ids=IDS, attention_mask=MASK, pixel_values=pixels)
    text = reference(folder, "textual", {"input_ids": IDS, "attention_mask": MASK})["text_embeds"]
    image = reference(folder, "visual", {"pixel_values": pixels})["image_embeds"]
    check(text / np.linalg.norm(text, axis=1, keepdims=True), whole.text_embeds)
    check(image / np.linalg.norm(image, axis=1, keepdims=True), whole.image_embeds)
    with pytest.raises(UsageError, match="two towers") as caught:
        open_model(folder, "transformers", Options())
    assert "--task textual" in caught.value.hint


def test_a_cache_goes_in_and_out(tmp_path: Path) -> None:
    model = parts.made(parts.gpt2)
    folder = saved(model, tmp_path / "gpt2")
    report = convert_file(str(folder), str(tmp_path / "m.onnx"))
    assert report.framework == "Hugging Face gpt2 (text-generation-with-past)"
    assert report.attempts[-1].route == "graph capture", report.attempts
    assert report.inputs[3] == "past_key_values.0.key float[batch, 2, past_sequence, 8]"
    assert report.outputs[1].startswith("present.0.key ")
    whole = model(input_ids=IDS).logits.detach().numpy()
    past = {
        f"past_key_values.{layer}.{kind}": np.zeros((2, 2, 0, 8), np.float32)
        for layer in range(2)
        for kind in ("key", "value")
    }
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        feeds = {
            "input_ids": IDS[:, start:stop].numpy(),
            "attention_mask": np.ones((2, stop), np.int64),
            "position_ids": np.tile(np.arange(start, stop), (2, 1)),
            **past,
        }
        found = run(tmp_path / "m.onnx", feeds)
        np.testing.assert_allclose(found["logits"], whole[:, start:stop], atol=2e-6)
        past = {n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"}


def test_windows_are_refused() -> None:
    model = parts.made(parts.llama)
    model.config.sliding_window = 8
    with pytest.raises(Unsupported, match="sliding window") as caught:
        with_past(lambda loader: model, {"vocab_size": 40})
    assert "--task text-generation" in caught.value.hint
