"""Hugging Face folders: encoders by their task, and sentence-transformers with their pooling.

The module is always wrapped, so that inputs have one order and outputs are plain tensors (the
exporters mis-order keyword arguments of the library's own classes).
"""

import inspect
import logging
from pathlib import Path
from typing import Any

import torch
import transformers

from modelkit.convert.detect import read_json
from modelkit.convert.export_torch import reference, routes
from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import InputSpec
from modelkit.safe import safe

# Task to the class that loads it, and the names of its outputs.
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "feature-extraction": ("AutoModel", ("last_hidden_state",)),
    "text-classification": ("AutoModelForSequenceClassification", ("logits",)),
    "token-classification": ("AutoModelForTokenClassification", ("logits",)),
    "fill-mask": ("AutoModelForMaskedLM", ("logits",)),
    "question-answering": ("AutoModelForQuestionAnswering", ("start_logits", "end_logits")),
    "image-classification": ("AutoModelForImageClassification", ("logits",)),
}

# End of an architecture's name to its task.
_ENDINGS = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForMaskedLM", "fill-mask"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForImageClassification", "image-classification"),
    ("Model", "feature-extraction"),
)

_COPIED = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "config.json",
    "preprocessor_config.json",
)  # fmt: skip

_POOLINGS = ("cls_token", "mean_tokens", "max_tokens")


class _Task(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A transformers module with explicit inputs and a tuple of tensors as its result."""

    def __init__(self, inner: torch.nn.Module, inputs: list[str], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run on the inputs in their fixed order."""
        found = self.inner(**dict(zip(self.inputs, values, strict=True)), return_dict=True)
        return tuple(found[name] for name in self.outputs)


class _Sentence(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token vectors pooled to one vector a text, as the folder's modules.json says."""

    def __init__(
        self,
        inner: torch.nn.Module,
        inputs: list[str],
        pooling: str,
        dense: list[torch.nn.Module],
        normalize: bool,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.inputs = inputs
        self.pooling = pooling
        self.dense = torch.nn.ModuleList(dense)
        self.normalize = normalize

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Sentence vectors [batch, width]."""
        named = dict(zip(self.inputs, values, strict=True))
        tokens = self.inner(**named, return_dict=True).last_hidden_state
        mask = named["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        if self.pooling == "cls_token":
            pooled = tokens[:, 0]
        elif self.pooling == "max_tokens":
            pooled = tokens.masked_fill(mask == 0, -1e9).max(1).values
        else:
            pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        for layer in self.dense:
            pooled = layer(pooled)
        if self.normalize:
            pooled = torch.nn.functional.normalize(pooled, p=2.0, dim=1)
        return (pooled,)


def open_model(path: Path, name: str, options: Options) -> Source:
    """Load the folder from disk only; no code of the folder is run.

    Raises:
        Unsupported: an architecture or pooling without a route.
        BadInput: the folder is incomplete.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if name == "sentence-transformers":
        folder, wrapper, outputs = _sentence(path)
        title = "sentence-transformers"
    else:
        folder, wrapper, outputs = path, None, ()
        title = "Hugging Face"
    config = read_json(folder / "config.json")
    if wrapper is None:
        task = options.task or _task(config, folder)
        if task not in TASKS:
            known = ", ".join(TASKS)
            raise UsageError(f"no task is called '{safe(task)}'", hint=f"tasks: {known}")
        loader, outputs = TASKS[task]
        inner = _pretrained(loader, folder)
        wrapper = _Task(inner, _input_names(inner, config), outputs)
        title = f"Hugging Face {config.get('model_type', '')} ({task})"
    specs = _specs(wrapper.inputs, config)
    wrapper.eval()
    samples = [_sample(spec) for spec in specs]
    return Source(
        title,
        reference(wrapper, specs, outputs),
        specs,
        routes(wrapper, specs, outputs, options, samples),
        tuple(path / file for file in _COPIED if (path / file).is_file()),
    )


def _sentence(path: Path) -> tuple[Path, _Sentence, tuple[str, ...]]:
    import json

    try:
        parts = json.loads((path / "modules.json").read_text(encoding="utf-8"))
        kinds = [(str(part["type"]).rsplit(".", 1)[-1], path / str(part["path"])) for part in parts]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{safe(str(path))}/modules.json is broken", cause=str(error)) from None
    if any(not place.resolve().is_relative_to(path.resolve()) for _, place in kinds):
        raise BadInput(f"{safe(str(path))}/modules.json leaves its folder")
    if not kinds or kinds[0][0] != "Transformer":
        raise Unsupported(f"{safe(str(path))} does not begin with a Transformer")
    folder, pooling, normalize = kinds[0][1], "mean_tokens", False
    dense: list[torch.nn.Module] = []
    for kind, place in kinds[1:]:
        if kind == "Pooling":
            pooling = _pooling(read_json(place / "config.json"))
        elif kind == "Normalize":
            normalize = True
        elif kind == "Dense":
            dense.append(_dense(place))
        else:
            raise Unsupported(f"sentence-transformers part '{safe(kind)}' has no route to ONNX")
    inner = _pretrained("AutoModel", folder)
    names = _input_names(inner, read_json(folder / "config.json"))
    wrapper = _Sentence(inner, names, pooling, dense, normalize)
    return folder, wrapper, ("sentence_embedding",)


def _pooling(config: dict[str, Any]) -> str:
    chosen = [key[len("pooling_mode_") :] for key, on in config.items()
              if key.startswith("pooling_mode_") and on is True]  # fmt: skip
    if isinstance(config.get("pooling_mode"), str):
        chosen = [f"{config['pooling_mode']}_token".replace("mean_token", "mean_tokens")
                  .replace("max_token", "max_tokens")]  # fmt: skip
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise Unsupported(
            f"pooling {safe(', '.join(chosen) or 'none')} has no route to ONNX",
            hint="mean, max and cls do",
        )
    return chosen[0]


def _dense(place: Path) -> torch.nn.Module:
    config = read_json(place / "config.json")
    activation = str(config.get("activation_function", "")).rsplit(".", 1)[-1]
    if activation not in ("Tanh", "Identity", "ReLU", "GELU"):
        raise Unsupported(f"activation '{safe(activation)}' of a Dense part has no route to ONNX")
    layer = torch.nn.Linear(
        int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True))
    )
    file = place / "model.safetensors"
    if not file.is_file():
        raise Unsupported(f"{safe(str(place))} has no model.safetensors")
    from safetensors.torch import load_file

    weights = {key.removeprefix("linear."): value for key, value in load_file(str(file)).items()}
    layer.load_state_dict(weights)
    return torch.nn.Sequential(layer, getattr(torch.nn, activation)())


def _task(config: dict[str, Any], folder: Path) -> str:
    names = config.get("architectures") or ["Model"]
    for ending, task in _ENDINGS:
        if str(names[0]).endswith(ending):
            return task
    raise Unsupported(
        f"architecture {safe(str(names[0]))} of {safe(str(folder))} has no route to ONNX yet",
        hint=f"--task forces one of: {', '.join(TASKS)}",
    )


def _pretrained(loader: str, folder: Path) -> torch.nn.Module:
    try:
        module: torch.nn.Module = getattr(transformers, loader).from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=_has_safetensors(folder),
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise BadInput(
            f"transformers could not load {safe(str(folder))}",
            cause=safe(lines[0], 300),
            hint="is the folder complete? nothing is downloaded",
        ) from None
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    return module


def _has_safetensors(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _input_names(module: torch.nn.Module, config: dict[str, Any]) -> list[str]:
    accepted = inspect.signature(module.forward).parameters
    if "pixel_values" in accepted and "input_ids" not in accepted:
        return ["pixel_values"]
    if "input_ids" not in accepted:
        raise Unsupported(
            f"{type(module).__name__} takes neither texts nor images",
            hint="text encoders and image classifiers have a route",
        )
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in accepted and int(config.get("type_vocab_size") or 0) > 1:
        names.append("token_type_ids")
    return names


def _specs(names: list[str], config: dict[str, Any]) -> tuple[InputSpec, ...]:
    if names == ["pixel_values"]:
        size = config.get("image_size", 224)
        height, width = size if isinstance(size, list) else (size, size)
        shape = ("batch", int(config.get("num_channels", 3)), int(height), int(width))
        return (InputSpec("pixel_values", "float32", shape, "pixels", -2.0, 2.0),)
    rows = float(int(config.get("vocab_size", 100)) - 1)
    pad = config.get("pad_token_id")
    low = 1.0 + (float(pad) if isinstance(pad, int) and pad < 10 else 0.0)
    found = {
        "input_ids": InputSpec("input_ids", "int64", ("batch", "sequence"), "ids", low, rows),
        "attention_mask": InputSpec(
            "attention_mask", "int64", ("batch", "sequence"), "mask", 0.0, 1.0
        ),
        "token_type_ids": InputSpec(
            "token_type_ids",
            "int64",
            ("batch", "sequence"),
            "token_types",
            0.0,
            float(max(int(config.get("type_vocab_size") or 1) - 1, 0)),
        ),
    }
    return tuple(found[name] for name in names)


def _sample(spec: InputSpec) -> torch.Tensor:
    """An example to export with, of another shape than any that parity is checked on."""
    lengths = {"batch": 2, "sequence": 9}
    shape = [dim if isinstance(dim, int) else lengths[dim] for dim in spec.shape]
    if spec.role == "pixels":
        return torch.randn(shape)
    if spec.role == "mask":
        return torch.ones(shape, dtype=torch.int64)
    low, high = int(spec.low or 0), int(spec.high or 1)
    return torch.randint(low, high + 1, shape)
