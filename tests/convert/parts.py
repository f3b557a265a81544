"""Small random Hugging Face models of every kind that is exported in parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from modelkit.convert.from_transformers import open_model
from modelkit.convert.source import Options
from tests.models import Feeds

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 40,
}  # fmt: skip
SEQ2SEQ = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 40,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip


def gpt2() -> torch.nn.Module:
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=40, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def llama() -> torch.nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=1))


def mistral() -> torch.nn.Module:
    """A window of four tokens on every layer."""
    config = transformers.MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=4)
    return transformers.MistralForCausalLM(config)


def gemma3() -> torch.nn.Module:
    """A window on one layer of two, and heads of a width of their own."""
    sizes = {**SIZES, "num_hidden_layers": 2}
    config = transformers.Gemma3TextConfig(
        **sizes, num_key_value_heads=1, head_dim=12, sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    return transformers.Gemma3ForCausalLM(config)


def clip() -> torch.nn.Module:
    text = {**SIZES, "eos_token_id": 39, "bos_token_id": 38, "max_position_embeddings": 20}
    vision = {**SIZES, "image_size": 16, "patch_size": 8}
    del vision["vocab_size"]
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    return transformers.CLIPModel(config)


def t5() -> torch.nn.Module:
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=40
    )
    return transformers.T5ForConditionalGeneration(config)


def bart() -> torch.nn.Module:
    return transformers.BartForConditionalGeneration(transformers.BartConfig(**SEQ2SEQ))


def whisper() -> torch.nn.Module:
    config = transformers.WhisperConfig(
        **SEQ2SEQ, num_mel_bins=8, max_source_positions=20, max_target_positions=32
    )
    return transformers.WhisperForConditionalGeneration(config)


def wav2vec2() -> torch.nn.Module:
    config = transformers.Wav2Vec2Config(
        **SIZES, conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2),
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    return transformers.Wav2Vec2ForCTC(config)


def swin() -> torch.nn.Module:
    config = transformers.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    return transformers.SwinForImageClassification(config)


def resnet() -> torch.nn.Module:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    return transformers.ResNetForImageClassification(config)


def convnext() -> torch.nn.Module:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return transformers.ConvNextForImageClassification(config)


def made(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The same weights at every call, biases not zero."""
    torch.manual_seed(5)
    model = build().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return model


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
