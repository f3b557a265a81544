from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.hf_seq2seq import decoder, decoder_first
from modelkit.errors import BadInput, Unsupported
from tests.convert import parts
from tests.convert.parts import IDS, MASK, check, reference, saved
from tests.models import run


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


TARGETS = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 10]])


@pytest.mark.parametrize("build", [parts.t5, parts.bart], ids=lambda build: build.__name__)
def test_the_cache_of_every_step_is_that_of_the_whole(build: object, tmp_path: Path) -> None:
    assert callable(build)
    model = parts.made(build)
    folder = saved(model, tmp_path)
    hidden = model.get_encoder()(input_ids=IDS, attention_mask=MASK).last_hidden_state.detach()
    whole = model(input_ids=IDS, attention_mask=MASK, decoder_input_ids=TARGETS).logits
    feeds = {"input_ids": TARGETS[:, :2], "encoder_hidden_states": hidden}
    found = reference(folder, "decoder-first", {**feeds, "encoder_attention_mask": MASK})
    check(found["logits"], whole[:, :2])
    past = {n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"}
    assert list(past)[:3] == [
        f"past_key_values.0.{name}" for name in ("decoder.key", "decoder.value", "encoder.key")
    ]
    for step in (2, 3):
        feeds = {"input_ids": TARGETS[:, step : step + 1], "encoder_attention_mask": MASK}
        feeds |= {name: torch.from_numpy(value) for name, value in past.items()}
        found = reference(folder, "decoder-with-past", feeds)
        assert not any(".encoder." in name for name in found), "the encoder's do not change"
        check(found["logits"], whole[:, step : step + 1])
        past |= {
            n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"
        }


def test_sound_to_text_step_by_step_on_onnx(tmp_path: Path) -> None:
    model = parts.made(parts.whisper)
    folder = saved(model, tmp_path / "whisper")
    further = tmp_path / "further.onnx"
    report = convert_file(str(folder), str(further), task="decoder-with-past")
    assert report.inputs[1] == "past_key_values.0.decoder.key float[batch, 2, past_sequence, 8]"
    assert report.inputs[3] == "past_key_values.0.encoder.key float[batch, 2, encoder_sequence, 8]"
    sound = torch.randn(2, 8, 40)
    hidden = model.get_encoder()(sound).last_hidden_state.detach()
    whole = model(input_features=sound, decoder_input_ids=TARGETS).logits.detach().numpy()
    ids = TARGETS.numpy()
    feeds = {"input_ids": TARGETS[:, :2], "encoder_hidden_states": hidden}
    found = reference(folder, "decoder-first", feeds)
    np.testing.assert_allclose(found["logits"], whole[:, :2], atol=3e-6)
    past = {n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"}
    for step in (2, 3):
        found = run(further, {"input_ids": ids[:, step : step + 1], **past})
        np.testing.assert_allclose(found["logits"], whole[:, step : step + 1], atol=3e-6)
        past |= {
            n.replace("present", "past_key_values"): v for n, v in found.items() if n[0] == "p"
        }


def test_what_has_no_such_part_is_told() -> None:
    model = parts.made(parts.bart)
    with pytest.raises(BadInput, match="no d_model"):
        decoder(lambda loader: model, {"vocab_size": 40})
    model.forward = lambda **words: None
    with pytest.raises(Unsupported, match="keeps no cache") as caught:
        decoder_first(lambda loader: model, {"vocab_size": 40, "d_model": 16})
    assert "--task decoder" in caught.value.hint
