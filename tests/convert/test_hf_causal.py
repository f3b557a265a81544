from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.hf_causal import with_past
from modelkit.errors import Unsupported
from tests.convert import parts
from tests.convert.parts import IDS, saved
from tests.models import run


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


def test_a_window_is_in_the_mask(tmp_path: Path) -> None:
    model = parts.made(parts.mistral)
    report = convert_file(str(saved(model, tmp_path / "folder")), str(tmp_path / "m.onnx"))
    longest = max(t.shapes["past_key_values.0.key"][2] for t in report.verification.trials)
    assert longest > model.config.sliding_window, "parity is checked beyond the window"
    ids = torch.randint(3, 40, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(input_ids=ids).logits.numpy()
    empty = np.zeros((2, 1, 0, 8), np.float32)
    past = {f"past_key_values.0.{kind}": empty for kind in ("key", "value")}
    for start, stop in ((0, 7), (7, 8), (8, 12)):
        feeds = {
            "input_ids": ids[:, start:stop].numpy(),
            "attention_mask": np.ones((2, stop), np.int64),
            "position_ids": np.tile(np.arange(start, stop), (2, 1)),
            **past,
        }
        found = run(tmp_path / "m.onnx", feeds)
        np.testing.assert_allclose(found["logits"], whole[:, start:stop], atol=3e-6)
        past = {n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"}


def test_layers_that_keep_something_else_are_refused() -> None:
    model = parts.made(parts.llama)
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(Unsupported, match="something else") as caught:
        with_past(lambda loader: model, {"vocab_size": 40})
    assert caught.value.cause == "linear_attention"
    assert "--task text-generation" in caught.value.hint


def test_a_model_without_a_cache_is_refused() -> None:
    model = parts.made(parts.llama)

    class Cacheless(torch.nn.Module):  # type: ignore[misc]
        config = model.config

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return input_ids

    with pytest.raises(Unsupported, match="something else") as caught:
        with_past(lambda loader: Cacheless(), {"vocab_size": 40})
    assert "TypeError" in caught.value.cause
