"""PEFT adapters (LoRA and kin): merged into their base model, compared with the two as trained."""

from pathlib import Path
from typing import Any

import torch

from modelkit.convert.detect import read_json
from modelkit.convert.from_transformers import of_part, part_of, task_of
from modelkit.convert.hf_folder import pretrained
from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput
from modelkit.safe import safe

import peft  # isort: skip  after hf_folder has forbidden downloads


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load an adapter and its base model from disk.

    Raises:
        BadInput: the base model is not on this disk, or the adapter does not fit it.
    """
    assert path is not None
    adapter = read_json(path / "adapter_config.json")
    base = _base(path, adapter)
    config = read_json(base / "config.json")
    task = options.task or task_of(config, base)
    # Heads that were trained with the adapter lie in it.
    own = tuple(str(name) for name in adapter.get("modules_to_save") or ())

    def trained(loader: str) -> torch.nn.Module:
        return _adapted(pretrained(loader, base, unused=own), path)

    def merged(loader: str) -> torch.nn.Module:
        return _merged(trained(loader), path)

    part = part_of(task, config, merged)
    judge = part_of(task, config, lambda loader: _inside(trained(loader))).module.eval()
    kind = safe(str(adapter.get("peft_type", "PEFT")), 20)
    title = f"{kind} adapter of Hugging Face {safe(str(config.get('model_type')), 40)} ({task})"
    return of_part(part, config, title, options, (path, base), judge)


def _inside(model: Any) -> torch.nn.Module:
    """The model inside the adapter's wrapper, whose signature the parts read."""
    found: torch.nn.Module = model.base_model.model
    return found


def _base(path: Path, adapter: dict[str, Any]) -> Path:
    named = str(adapter.get("base_model_name_or_path") or "")
    places = [Path(named), path / named, path.parent / named, path.parent / Path(named).name]
    for place in places:
        if named and (place / "config.json").is_file():
            return place
    raise BadInput(
        f"the base model of {safe(str(path))} is not on this disk",
        cause=f"it is {safe(named or 'not named', 200)}; nothing is downloaded",
        hint="put its folder beside the adapter, or correct base_model_name_or_path",
        code="base-missing",
    )


def _adapted(inner: torch.nn.Module, path: Path) -> torch.nn.Module:
    try:
        found: torch.nn.Module = peft.PeftModel.from_pretrained(
            inner, str(path), local_files_only=True
        ).eval()
    except Exception as error:  # peft raises any type
        lines = str(error).strip().splitlines() or [repr(error)]
        raise BadInput(
            f"the adapter {safe(str(path))} does not fit its base model",
            cause=safe(lines[0], 300),
            hint="is it the base it was trained on?",
            code="unreadable",
        ) from None
    return found


def _merged(model: Any, path: Path) -> torch.nn.Module:
    if not hasattr(model, "merge_and_unload"):
        raise BadInput(
            f"the adapter {safe(str(path))} cannot be merged into its base model",
            cause=f"it is {type(model.base_model).__name__}",
            hint="LoRA and kin can be merged, prompts and prefixes cannot",
        )
    found: torch.nn.Module = model.merge_and_unload().eval()
    return found
