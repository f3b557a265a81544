"""Hugging Face folders: encoders and classifiers of texts and images, by their task.

The module is always wrapped, so that inputs have one order and outputs are plain tensors (the
exporters mis-order keyword arguments of the library's own classes).  Attention is the library's
default (sdpa), the form that fuses.
"""

from pathlib import Path
from typing import Any

import torch

from modelkit.convert.companions import found_in
from modelkit.convert.detect import read_json
from modelkit.convert.hf_folder import (
    Load,
    Part,
    example,
    input_names,
    input_specs,
    pretrained,
)
from modelkit.convert.hf_parts import PARTS
from modelkit.convert.precision import Held
from modelkit.convert.source import Options, Source
from modelkit.convert.torch_source import source_of
from modelkit.errors import Unsupported, UsageError
from modelkit.safe import safe

TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "feature-extraction": ("AutoModel", ("last_hidden_state",)),
    "text-classification": ("AutoModelForSequenceClassification", ("logits",)),
    "token-classification": ("AutoModelForTokenClassification", ("logits",)),
    "fill-mask": ("AutoModelForMaskedLM", ("logits",)),
    "question-answering": ("AutoModelForQuestionAnswering", ("start_logits", "end_logits")),
    "image-classification": ("AutoModelForImageClassification", ("logits",)),
    "speech-recognition": ("AutoModelForCTC", ("logits",)),
    "audio-classification": ("AutoModelForAudioClassification", ("logits",)),
    "text-generation": ("AutoModelForCausalLM", ("logits",)),
}
"""Task to the class that loads it, and the names of its outputs."""

# End of an architecture's name to its task.
_ENDINGS = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForMaskedLM", "fill-mask"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForImageClassification", "image-classification"),
    ("ForCTC", "speech-recognition"),
    ("ForAudioClassification", "audio-classification"),
    ("ForCausalLM", "text-generation-with-past"),
    ("LMHeadModel", "text-generation-with-past"),
    ("Model", "feature-extraction"),
)


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


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the folder from disk only; no code of the folder is run.

    Raises:
        UsageError: no such task.
        Unsupported: an architecture without a route.
        BadInput: the folder is incomplete, or has no weights for the task.
    """
    assert path is not None
    config = read_json(path / "config.json")
    task = options.task or task_of(config, path)
    unused = ("pooler.",) if task == "feature-extraction" else ()
    part = part_of(task, config, lambda loader: pretrained(loader, path, unused=unused))
    title = f"Hugging Face {safe(str(config.get('model_type', '')), 40)} ({task})"
    return of_part(part, config, title, options, (path,))


def part_of(task: str, config: dict[str, Any], load: Load) -> Part:
    """What ``task`` exports of the model that ``load`` gives.

    Raises:
        UsageError: no such task.
    """
    if task in PARTS:
        return PARTS[task](load, config)
    if task not in TASKS:
        known = ", ".join((*TASKS, *PARTS))
        raise UsageError(f"no task is called '{safe(task)}'", hint=f"tasks: {known}")
    loader, outputs = TASKS[task]
    inner = load(loader)
    names = input_names(inner, config)
    return Part(_Task(inner, names, outputs), input_specs(names, config), outputs)


def wrapped(
    module: torch.nn.Module,
    names: list[str],
    outputs: tuple[str, ...],
    config: dict[str, Any],
    title: str,
    options: Options,
    folders: tuple[Path, ...],
) -> Source:
    """The source of a module that takes ``names`` in order and gives a tuple of ``outputs``."""
    part = Part(module, input_specs(names, config), outputs)
    return of_part(part, config, title, options, folders)


def of_part(
    part: Part,
    config: dict[str, Any],
    title: str,
    options: Options,
    folders: tuple[Path, ...],
    judge: torch.nn.Module | None = None,
) -> Source:
    """The source of a part, in the type of the folder's weights or the one asked for.

    ``judge`` is what the result is compared with, where it is not the part itself.
    """
    module, specs, outputs = part.module, part.specs, part.outputs
    if options.threads:
        torch.set_num_threads(options.threads)
    module.eval()
    generator = torch.Generator().manual_seed(0)
    samples = [example(spec, generator) for spec in specs]
    kind = str(config.get("dtype") or config.get("torch_dtype") or "")
    short = kind if kind in ("float16", "bfloat16") else ""
    source = Held(short, sum(w.numel() for w in module.parameters()) * 2)
    return source_of(
        title, module, specs, outputs, samples, options, source,
        judge=judge, files=found_in(*folders), metadata=part.metadata,
    )  # fmt: skip


def task_of(config: dict[str, Any], folder: Path) -> str:
    """The task of the architecture that the folder names.

    Raises:
        UsageError: it has several parts; the hint names their tasks.
        Unsupported: no route.
    """
    names = config.get("architectures") or ["Model"]
    if config.get("is_encoder_decoder"):
        raise UsageError(
            f"{safe(str(names[0]))} has two parts, which are exported one by one",
            hint="add --task encoder, and then --task decoder with another -o; with a cache:"
            " --task decoder-first and --task decoder-with-past",
            code="task-missing",
        )
    if str(names[0]) == "CLIPModel":
        raise UsageError(
            "CLIP has two towers, which are exported one by one",
            hint="add --task textual, and then --task visual with another -o",
            code="task-missing",
        )
    for ending, task in _ENDINGS:
        if str(names[0]).endswith(ending):
            return task
    raise Unsupported(
        f"architecture {safe(str(names[0]))} of {safe(str(folder))} has no route to ONNX yet",
        hint=f"--task forces one of: {', '.join((*TASKS, *PARTS))}",
    )
