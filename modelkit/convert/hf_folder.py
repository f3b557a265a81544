"""What all Hugging Face folders share: loading from disk only, inputs, and their limits."""

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Nothing is fetched: what is not on this disk is an error, not a download.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch
import transformers

from modelkit.errors import BadInput, Unsupported
from modelkit.model import InputSpec
from modelkit.safe import safe

Load = Callable[[str], torch.nn.Module]
"""Loads a folder by a class of transformers."""

_EXAMPLE = {
    "batch": 2,
    "sequence": 9,
    "encoder_sequence": 11,
    "samples": 2500,
    "past_sequence": 6,
    "total_sequence": 15,
}


class Part(NamedTuple):
    """A module that takes tensors in the order of ``specs`` and gives a tuple of ``outputs``.

    ``metadata`` is kept in the result.
    """

    module: torch.nn.Module
    specs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str] = {}


def pretrained(loader: str, folder: Path, *, unused: tuple[str, ...] = ()) -> torch.nn.Module:
    """The module in ``folder`` as float32 in inference mode; no code of the folder is run.

    ``loader`` is a class of transformers; weights whose name contains one of ``unused`` may be
    missing, because no output depends on them.

    Raises:
        BadInput: the folder is incomplete, or lacks weights that the module needs.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        module, loading = getattr(transformers, loader).from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=any(folder.glob("*.safetensors")),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises any type on a broken folder
        lines = str(error).strip().splitlines() or [repr(error)]
        raise BadInput(
            f"transformers could not load {safe(str(folder))}",
            cause=safe(lines[0], 300),
            hint="is the folder complete? nothing is downloaded, and no code of it is run",
            code="unreadable",
        ) from None
    _refuse_missing(loading.get("missing_keys", ()), unused, folder)
    if hasattr(module.config, "use_cache"):
        module.config.use_cache = False
    found: torch.nn.Module = module.eval()
    return found


def _refuse_missing(names: Iterable[str], unused: tuple[str, ...], folder: Path) -> None:
    """Weights that the file lacks would be random numbers in the result."""
    missing = sorted(name for name in names if not any(part in name for part in unused))
    if missing:
        raise BadInput(
            f"{safe(str(folder))} has no weights for {safe(', '.join(missing[:4]), 200)}",
            cause=f"{len(missing)} weights would be random numbers",
            hint="choose the --task that the folder was trained for",
            code="weights-missing",
        )


def input_names(module: torch.nn.Module, config: dict[str, Any]) -> list[str]:
    """The inputs a text or image encoder is fed with, in the order the ecosystem has them.

    Raises:
        Unsupported: it takes anything else, or more than one kind.
    """
    accepted = inspect.signature(module.forward).parameters
    kinds = [kind for kind in ("input_ids", "pixel_values", "input_values", "input_features")
             if kind in accepted]  # fmt: skip
    known = (["input_ids"], ["pixel_values"], ["input_values"], ["input_features"])
    if config.get("is_encoder_decoder") or kinds not in known:
        taken = ", ".join(kinds) or "neither texts nor images"
        if config.get("is_encoder_decoder"):
            taken += " in an encoder and a decoder"
        raise Unsupported(
            f"{type(module).__name__} takes {taken} and has no route to ONNX yet",
            hint="--task encoder and --task decoder export its parts",
        )
    if kinds != ["input_ids"]:
        return kinds
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in accepted and int(config.get("type_vocab_size") or 0) > 1:
        names.append("token_type_ids")
    return names


def input_specs(names: list[str], config: dict[str, Any]) -> tuple[InputSpec, ...]:
    """What each of :func:`input_names` holds, from the folder's configuration.

    Raises:
        BadInput: a size in the configuration is no number.
    """
    try:
        return tuple(_spec(name, config) for name in names)
    except (TypeError, ValueError) as error:
        raise BadInput("config.json has an impossible size", cause=safe(str(error))) from None


def _spec(name: str, config: dict[str, Any]) -> InputSpec:
    text = ("batch", "sequence")
    if name == "pixel_values":
        size = config.get("image_size", 224)
        height, width = size if isinstance(size, list) else (size, size)
        shape = ("batch", int(config.get("num_channels", 3)), int(height), int(width))
        return InputSpec(name, "float32", shape, "pixels", -2.0, 2.0)
    if name == "input_values":
        # Sound at 16 kHz; shorter than a window it gives nothing.
        shapes = ((1, 2000), (3, 3100))
        return InputSpec(name, "float32", ("batch", "samples"), "audio", -1.0, 1.0, shapes)
    if name == "input_features":
        frames = 2 * int(config.get("max_source_positions", 1500))
        sound = ("batch", int(config.get("num_mel_bins", 80)), frames)
        return InputSpec(name, "float32", sound, "audio", -1.0, 1.0)
    if name == "attention_mask":
        return InputSpec(name, "int64", text, "mask", 0.0, 1.0)
    if name == "token_type_ids":
        return InputSpec(name, "int64", text, "token_types", 0.0, config["type_vocab_size"] - 1.0)
    # A padding token inside a text would move the positions of some models.
    pad = config.get("pad_token_id")
    low = pad + 1.0 if isinstance(pad, int) and 0 <= pad < 10 else 0.0
    return InputSpec(name, "int64", text, "ids", low, float(int(config["vocab_size"]) - 1))


def example(spec: InputSpec, generator: torch.Generator) -> torch.Tensor:
    """An input to export with, of another shape than any that parity is checked on."""
    shape = [dim if isinstance(dim, int) else _EXAMPLE[dim] for dim in spec.shape]
    if spec.dtype == "float32":
        return torch.randn(shape, generator=generator)
    if spec.role == "positions":
        return torch.arange(shape[-1]).expand(shape).contiguous()
    if spec.role == "mask":
        return torch.ones(shape, dtype=torch.int64)
    low, high = int(spec.low or 0), int(spec.high or 0)
    return torch.randint(low, high + 1, shape, generator=generator)
