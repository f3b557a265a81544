"""Small random Hugging Face models of every kind that is exported in parts."""

from collections.abc import Callable

import torch
import transformers

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
