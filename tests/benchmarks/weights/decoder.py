"""A decoder as small language models are built, with random weights: for speed, not for quality.

    python -m tests.benchmarks.weights.decoder FOLDER

44 million parameters, 6 layers of 768, 12 heads on 4, a vocabulary of 4096.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.benchmarks.optimizer.decoders import decoder, step
from tests.benchmarks.optimizer.export import write_model
from tests.benchmarks.optimizer.recipes import Call, Recipe, perturbed
from tests.models import Feeds

LAYERS, HEADS, KEPT, WIDTH, VOCABULARY = 6, 12, 4, 64, 4096
CASES = {"decode": (1, 1, 127), "long": (4, 1, 511), "prefill": (1, 128, 0)}
"""Name to batch, new tokens and past."""


def network(full: bool) -> torch.nn.Module:
    """Llama's layers."""
    config = transformers.LlamaConfig(
        hidden_size=HEADS * WIDTH,
        intermediate_size=2048,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEPT,
        vocab_size=VOCABULARY,
    )
    return Call(perturbed(transformers.LlamaForCausalLM(config)), step)


def recipe() -> Recipe:
    """How it is exported."""
    return decoder("small-llama", network, LAYERS, KEPT, WIDTH)


def model(folder: Path) -> Path:
    """The exported model in ``folder``, made if it is not there."""
    path = folder / "decoder.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_model(recipe(), "dynamo", path, full=False)
    return path


def feeds(batch: int, tokens: int, past: int, seed: int = 0) -> Feeds:
    """One step of generation."""
    random = np.random.default_rng(seed)
    found: Feeds = {
        "input_ids": random.integers(0, VOCABULARY, (batch, tokens)),
        "attention_mask": np.ones((batch, past + tokens), np.int64),
    }
    for layer in range(LAYERS):
        for part in ("key", "value"):
            shape = (batch, KEPT, past, WIDTH)
            found[f"past.{layer}.{part}"] = random.standard_normal(shape).astype(np.float32)
    return found


if __name__ == "__main__":
    print(model(Path(sys.argv[1])))
