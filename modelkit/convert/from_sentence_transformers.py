"""sentence-transformers folders: pooling and normalisation become part of the graph.

The parts are rebuilt from modules.json, so the library itself is not needed.  The one output is
``sentence_embedding`` [batch, width].
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modelkit.convert import torch_files
from modelkit.convert.detect import read_json, read_json_list
from modelkit.convert.from_transformers import wrapped
from modelkit.convert.hf_folder import input_names, pretrained
from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput, Unsupported
from modelkit.safe import safe

_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU")
_POOLED = "pooling_mode_"


def _first(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens[:, 0]


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def _mean_root(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt()


def _max(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(mask == 0, -1e9).max(1).values


POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_root,
}
"""Name to (tokens [batch, sequence, width], mask [batch, sequence, 1]) -> [batch, width], in the
order in which several are joined."""


class _Normalize(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Vectors of length one."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(values, p=2.0, dim=1)


class _Sentence(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token vectors pooled to one vector a text, and what the folder puts behind that."""

    def __init__(
        self, inner: torch.nn.Module, inputs: list[str], poolings: list[str],
        head: list[torch.nn.Module],
    ) -> None:  # fmt: skip
        super().__init__()
        self.inner = inner
        self.inputs = inputs
        self.poolings = poolings
        self.head = torch.nn.Sequential(*head)

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.inputs, values, strict=True))
        tokens = self.inner(**named, return_dict=True).last_hidden_state
        mask = named["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        pooled = [POOLINGS[name](tokens, mask) for name in self.poolings]
        joined = pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)
        return (self.head(joined),)


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the folder from disk only; no code of the folder is run.

    Raises:
        Unsupported: a part or pooling without a route.
        BadInput: the folder is incomplete.
    """
    assert path is not None
    (kind, folder), *rest = _parts(path)
    if kind != "Transformer":
        raise Unsupported(f"{safe(str(path))} begins with a {safe(kind)}, not with a Transformer")
    poolings: list[str] = []
    head: list[torch.nn.Module] = []
    for kind, place in rest:
        if kind == "Pooling" and not poolings:
            poolings = _poolings(read_json(place / "config.json"))
        elif kind == "Normalize":
            head.append(_Normalize())
        elif kind == "Dense":
            head.append(_dense(place))
        elif kind != "Dropout":
            raise Unsupported(f"sentence-transformers part '{safe(kind)}' has no route to ONNX")
    if not poolings:
        raise Unsupported(f"{safe(str(path))} has no Pooling, and its outputs are not sentences")
    config = read_json(folder / "config.json")
    inner = pretrained("AutoModel", folder, unused=("pooler.",))
    names = input_names(inner, config)
    if "attention_mask" not in names:
        raise Unsupported(f"{safe(str(path))} does not encode texts")
    module = _Sentence(inner, names, poolings, head)
    outputs = ("sentence_embedding",)
    title = "sentence-transformers"
    return wrapped(module, names, outputs, config, title, options, (folder, path))


def _parts(path: Path) -> list[tuple[str, Path]]:
    entries = read_json_list(path / "modules.json")
    try:
        parts = [
            (str(entry["type"]).rsplit(".", 1)[-1], path / str(entry["path"])) for entry in entries
        ]
    except KeyError as missing:
        raise BadInput(f"{safe(str(path))}/modules.json lacks {missing}") from None
    if not parts:
        raise BadInput(f"{safe(str(path))}/modules.json is empty")
    if any(not place.resolve().is_relative_to(path.resolve()) for _, place in parts):
        raise BadInput(
            f"{safe(str(path))}/modules.json names a place outside its folder",
            code="leaves-folder",
        )
    return parts


def _poolings(config: dict[str, Any]) -> list[str]:
    """The poolings that are on, newer or older form of the configuration."""
    newer = config.get("pooling_mode")
    if newer is not None:
        chosen = [newer] if isinstance(newer, str) else [str(name) for name in newer]
    else:
        chosen = [
            key.removeprefix(_POOLED)
            for key, on in config.items()
            if key.startswith(_POOLED) and on is True
        ] or ["mean"]
    chosen = [name.removesuffix("_token") if name in ("cls_token",) else name for name in chosen]
    chosen = [{"mean_tokens": "mean", "max_tokens": "max"}.get(name, name) for name in chosen]
    for name in chosen:
        if name not in POOLINGS:
            raise Unsupported(
                f"pooling '{safe(name)}' has no route to ONNX",
                hint=f"these do: {', '.join(POOLINGS)}",
            )
    return chosen if newer is not None else sorted(chosen, key=list(POOLINGS).index)


def _dense(place: Path) -> torch.nn.Module:
    config = read_json(place / "config.json")
    activation = str(config.get("activation_function", "")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        raise Unsupported(f"activation '{safe(activation)}' of a Dense part has no route to ONNX")
    file = place / "model.safetensors"
    if file.is_file():
        weights = torch_files.read_safetensors(file)
    else:
        weights = torch_files.read_checkpoint(place / "pytorch_model.bin", trust=False)
    try:
        layer = torch.nn.Linear(
            int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True))
        )
        layer.load_state_dict({key.removeprefix("linear."): w for key, w in weights.items()})
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise BadInput(
            f"the Dense part in {safe(str(place))} is broken",
            cause=safe(" ".join(str(error).split()), 300),
        ) from None
    return torch.nn.Sequential(layer, getattr(torch.nn, activation)())
