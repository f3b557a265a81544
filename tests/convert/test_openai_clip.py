from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from modelkit.convert import convert_file, open_source
from modelkit.convert.openai_clip import part_of
from modelkit.convert.source import Options
from modelkit.errors import BadInput, UsageError
from modelkit.model import LOGIT_SCALE, load
from tests.convert import parts
from tests.models import run

WIDTH, LENGTH, WORDS = 64, 12, 50


def model() -> transformers.CLIPModel:
    """transformers' CLIP of the sizes that OpenAI's files are told by: heads are 64 wide."""
    text = {
        "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 1,
        "intermediate_size": 4 * WIDTH, "vocab_size": WORDS, "eos_token_id": WORDS - 1,
        "bos_token_id": WORDS - 2, "max_position_embeddings": LENGTH, "hidden_act": "quick_gelu",
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 4 * WIDTH, "image_size": 16, "patch_size": 8,
        "hidden_act": "quick_gelu",
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    return parts.made(lambda: transformers.CLIPModel(config))


def renamed(held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under OpenAI's names."""
    new = {
        "visual.class_embedding": held["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": held["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": held["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": held["visual_projection.weight"].T.contiguous(),
        "token_embedding.weight": held["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": held["text_model.embeddings.position_embedding.weight"],
        "text_projection": held["text_projection.weight"].T.contiguous(),
        "logit_scale": held["logit_scale"],
    }
    for end in ("weight", "bias"):
        new[f"visual.ln_pre.{end}"] = held[f"vision_model.pre_layrnorm.{end}"]
        new[f"visual.ln_post.{end}"] = held[f"vision_model.post_layernorm.{end}"]
        new[f"ln_final.{end}"] = held[f"text_model.final_layer_norm.{end}"]
        for tower, prefix, layers in (("vision_model", "visual.", 1), ("text_model", "", 2)):
            for layer in range(layers):
                old = f"{tower}.encoder.layers.{layer}"
                place = f"{prefix}transformer.resblocks.{layer}"
                joined = [held[f"{old}.self_attn.{part}_proj.{end}"] for part in "qkv"]
                new[f"{place}.attn.in_proj_{end}"] = torch.cat(joined)
                new[f"{place}.attn.out_proj.{end}"] = held[f"{old}.self_attn.out_proj.{end}"]
                new[f"{place}.mlp.c_fc.{end}"] = held[f"{old}.mlp.fc1.{end}"]
                new[f"{place}.mlp.c_proj.{end}"] = held[f"{old}.mlp.fc2.{end}"]
                for number in (1, 2):
                    norm = held[f"{old}.layer_norm{number}.{end}"]
                    new[f"{place}.ln_{number}.{end}"] = norm
    return new


def test_both_towers_are_those_of_transformers(tmp_path: Path) -> None:
    clip = model()
    torch.save(renamed(clip.state_dict()), tmp_path / "clip.pt")
    random = np.random.default_rng(0)
    ids = random.integers(1, WORDS - 1, (3, LENGTH))
    ids[0, 5:], ids[1, -1:], ids[2, 8:] = 0, 0, 0
    ids[0, 4] = ids[1, -2] = ids[2, 7] = WORDS - 1
    pixels = random.standard_normal((3, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        whole = clip(input_ids=torch.from_numpy(ids), pixel_values=torch.from_numpy(pixels))
    report = convert_file(str(tmp_path / "clip.pt"), str(tmp_path / "t.onnx"), task="textual")
    assert report.framework == "OpenAI CLIP (textual)"
    assert report.inputs == (f"input_ids int64[batch, {LENGTH}]",)
    text = run(tmp_path / "t.onnx", {"input_ids": ids})["text_embeds"]
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    np.testing.assert_allclose(text, whole.text_embeds.numpy(), atol=2e-6)
    source = open_source(tmp_path / "clip.pt", options=Options(task="visual"))
    assert source.reference is not None
    image = source.reference({"pixel_values": pixels})["image_embeds"]
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    np.testing.assert_allclose(image, whole.image_embeds.numpy(), atol=2e-6)


def test_a_task_for_other_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.ones(2, 2)}, tmp_path / "m.pt")
    with pytest.raises(UsageError, match="--task means nothing"):
        convert_file(str(tmp_path / "m.pt"), task="visual")


def test_what_is_missing_is_told() -> None:
    weights = renamed(model().state_dict())
    with pytest.raises(UsageError, match="two towers") as caught:
        part_of(weights, None)
    assert "--task visual" in caught.value.hint
    with pytest.raises(BadInput, match="not those of OpenAI's CLIP"):
        part_of({n: w for n, w in weights.items() if n != "ln_final.bias"}, "textual")
    for broken in ("visual.conv1.weight", "visual.positional_embedding"):
        with pytest.raises(BadInput, match="not those of OpenAI's CLIP"):
            part_of({n: w for n, w in weights.items() if n != broken}, "visual")


def test_the_scale_of_the_cosine_is_kept(tmp_path: Path) -> None:
    clip = model()
    clip.logit_scale.data.fill_(float(np.log(37.5)))
    torch.save(renamed(clip.state_dict()), tmp_path / "clip.pt")
    convert_file(str(tmp_path / "clip.pt"), str(tmp_path / "visual.onnx"), task="visual")
    clip.save_pretrained(tmp_path / "folder")
    source = open_source(tmp_path / "folder", options=Options(task="textual"))
    for kept in (load(tmp_path / "visual.onnx").metadata_props, source.metadata):
        assert float(kept[LOGIT_SCALE]) == pytest.approx(37.5, rel=1e-6)


class Whole(torch.nn.Module):  # type: ignore[misc]
    """All weights under their names, as OpenAI's own files have them: a script."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            *places, last = name.split(".")
            inner: torch.nn.Module = self
            for place in places:
                if not hasattr(inner, place):
                    inner.add_module(place, torch.nn.Module())
                inner = getattr(inner, place)
            inner.register_parameter(last, torch.nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_a_script_in_half_precision_as_openai_writes_it(tmp_path: Path) -> None:
    clip = model()
    held = {name: value.half() for name, value in renamed(clip.state_dict()).items()}
    torch.jit.script(Whole(held)).save(str(tmp_path / "ViT.pt"))
    source = open_source(tmp_path / "ViT.pt", options=Options(task="visual"))
    assert source.framework == "OpenAI CLIP (visual)"
    assert source.reference is not None
    pixels = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    found = source.reference({"pixel_values": pixels})["image_embeds"]
    with torch.no_grad():
        whole = clip.half().float()
        expected = whole.get_image_features(pixel_values=torch.from_numpy(pixels)).pooler_output
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)
