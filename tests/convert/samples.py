"""Small torch modules and Hugging Face folders for the tests of convert."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import transformers


class Linear(torch.nn.Module):  # type: ignore[misc]
    """One linear layer: x [batch, 8] to [batch, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


class Picture(torch.nn.Module):  # type: ignore[misc]
    """A small convolution net with batch normalization and dropout, in training mode as made."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.drop(torch.relu(self.norm(self.conv(image)))).mean((2, 3))
        return {"scores": self.head(features), "features": features}


class Words(torch.nn.Module):  # type: ignore[misc]
    """Token ids and a mask to one vector a text."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(11, 6)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = mask.unsqueeze(-1).float()
        return (self.table(ids) * weights).sum(1) / weights.sum(1)


class Rowwise(torch.nn.Module):  # type: ignore[misc]
    """A Python loop over the batch: tracing bakes its length in, silently."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(x[0])
        for row in range(x.shape[0]):
            total = total + x[row] * (row + 1)
        return total


class Branching(torch.nn.Module):  # type: ignore[misc]
    """A branch on the value of a tensor."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x + 1
        return x * 2


def linear() -> torch.nn.Module:
    torch.manual_seed(1)
    return Linear()


def picture() -> torch.nn.Module:
    torch.manual_seed(2)
    return Picture()


def words() -> torch.nn.Module:
    torch.manual_seed(3)
    return Words()


def rowwise() -> torch.nn.Module:
    return Rowwise()


def branching() -> torch.nn.Module:
    return Branching()


class Zeta(torch.nn.Module):  # type: ignore[misc]
    """Neither exporter has a form for Hurwitz's zeta function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.zeta(x.abs() + 2, x.abs() + 1)


def unexportable() -> torch.nn.Module:
    return Zeta()


def number() -> int:
    return 3


def broken() -> torch.nn.Module:
    raise ValueError("no such checkpoint")


def bert_config() -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32, num_labels=3,
    )  # fmt: skip


def bert_folder(folder: Path, kind: str) -> Path:
    """A random BERT of the transformers class ``kind``, biases not zero, saved to ``folder``."""
    torch.manual_seed(4)
    model = getattr(transformers, kind)(bert_config())
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    model.save_pretrained(folder)
    return folder


def sentence_folder(folder: Path, pooling: Mapping[str, object], parts: list[str]) -> Path:
    """A sentence-transformers folder around a random BERT; ``parts`` come after the pooling."""
    bert_folder(folder, "BertModel")
    kinds = ["Transformer", "Pooling", *parts]
    places = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index)]
    entries = [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    for place in places[1:]:
        (folder / place).mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, **pooling})
    )
    (folder / "tokenizer.json").write_text("{}")
    return folder
