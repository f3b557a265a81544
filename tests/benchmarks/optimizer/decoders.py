"""Decoders that carry their cache in and out: one step of generation."""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from tests.benchmarks.optimizer.recipes import VOCABULARY, Call, Input, Recipe, perturbed


def step(model: Any, ids: torch.Tensor, mask: torch.Tensor, *past: torch.Tensor) -> Any:
    cache = transformers.DynamicCache(zip(past[0::2], past[1::2], strict=True))
    found = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
    present = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return (found.logits, *present)


def gpt2(full: bool) -> torch.nn.Module:
    """GPT-2: 768 wide, 12 heads."""
    config = transformers.GPT2Config(
        n_layer=12 if full else 3, vocab_size=50257 if full else VOCABULARY
    )
    return Call(perturbed(transformers.GPT2LMHeadModel(config)), step)


def llama(full: bool) -> torch.nn.Module:
    """TinyLlama: 2048 wide, 32 heads on 4."""
    config = transformers.LlamaConfig(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=8 if full else 2,
        num_attention_heads=32,
        num_key_value_heads=4,
        vocab_size=VOCABULARY,
    )
    return Call(perturbed(transformers.LlamaForCausalLM(config)), step)


def qwen3(full: bool) -> torch.nn.Module:
    """Qwen3-0.6B: 1024 wide, 16 heads on 8, queries and keys normalised."""
    config = transformers.Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=12 if full else 3,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=VOCABULARY,
        max_window_layers=12,
    )
    return Call(perturbed(transformers.Qwen3ForCausalLM(config)), step)


def bloom(full: bool) -> torch.nn.Module:
    """BLOOM-560M: 1024 wide, 16 heads, positions as slopes on scores of flattened heads."""
    config = transformers.BloomConfig(
        hidden_size=1024, n_layer=12 if full else 3, n_head=16, vocab_size=VOCABULARY
    )
    return Call(perturbed(transformers.BloomForCausalLM(config)), step)


def decoder(name: str, build: Callable[[bool], Any], layers: int, heads: int, width: int) -> Recipe:
    past = [
        Input(f"past.{layer}.{part}", ("batch", heads, "past", width))
        for layer in range(layers)
        for part in ("key", "value")
    ]
    inputs = (
        Input("input_ids", ("batch", "tokens"), high=VOCABULARY),
        Input("attention_mask", ("batch", "total"), mask="front"),
        *past,
    )
    outputs = ("logits", *(port.name.replace("past", "present") for port in past))
    sizes = (_sizes(1, 1, 127), _sizes(2, 1, 31), _sizes(2, 3, 8))
    return Recipe(name, build, inputs, outputs, sizes)


def _sizes(batch: int, tokens: int, past: int) -> dict[str, int]:
    return {"batch": batch, "tokens": tokens, "past": past, "total": tokens + past}


def recipes(full: bool) -> tuple[Recipe, ...]:
    """Their inputs grow with their depth."""
    return (
        decoder("bloom", bloom, 12 if full else 3, 16, 64),
        decoder("gpt2", gpt2, 12 if full else 3, 12, 64),
        decoder("llama", llama, 8 if full else 2, 4, 64),
        decoder("qwen3", qwen3, 12 if full else 3, 8, 128),
    )
