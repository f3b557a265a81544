"""What people want of raw outputs: probabilities, classes, the best few, unit vectors."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import BadInput, UsageError
from modelkit.safe import safe

_STEPS = ("softmax", "argmax", "topk", "normalize")
_DEFAULT_TOP = 5
_LABEL_KEYS = ("modelkit.labels", "labels", "names", "classes")


@dataclass(frozen=True)
class Step:
    """One step on the last axis of one output; ``count`` is k of topk."""

    output: str
    name: str
    count: int = 0


def read_steps(texts: Sequence[str], outputs: Sequence[str]) -> list[Step]:
    """``["softmax", "scores=topk:5"]``; without a name the first output is meant.

    Raises:
        UsageError: no such step or output.
    """
    found = []
    for text in texts:
        output, equals, step = text.rpartition("=")
        if equals and output not in outputs:
            known = ", ".join(safe(name, 40) for name in outputs)
            raise UsageError(f"the model has no output '{safe(output)}'", hint=f"it has: {known}")
        name, colon, count = step.partition(":")
        number = int(count) if count.isdecimal() else 0
        sound = name in _STEPS and (not colon or (name == "topk" and number > 0))
        if not sound:
            raise UsageError(
                f"--post {safe(step)} is unknown",
                hint="one of: softmax, argmax, topk:5, normalize; or OUTPUT=softmax",
            )
        top = (number or _DEFAULT_TOP) if name == "topk" else 0
        found.append(Step(output if equals else outputs[0], name, top))
    return found


def apply_steps(
    steps: Sequence[Step], outputs: Mapping[str, np.ndarray], labels: Sequence[str]
) -> dict[str, Any]:
    """``outputs`` with the steps done in order.

    ``topk`` turns an output into lists of {"label" or "index", "score"}, ``argmax`` into labels
    where there are any, else into indices.

    Raises:
        UsageError: a step on an output it cannot work on.
    """
    found: dict[str, Any] = dict(outputs)
    for step in steps:
        value = found[step.output]
        if not isinstance(value, np.ndarray) or value.ndim == 0 or value.dtype.kind not in "fiu":
            raise UsageError(f"--post {step.name} needs numbers, '{safe(step.output)}' has none")
        found[step.output] = _applied(step, value, labels)
    return found


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, in float64 and then the values' own type."""
    wide = values.astype(np.float64)
    exponents = np.exp(wide - wide.max(axis=-1, keepdims=True, initial=-np.inf))
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float32)
    found: np.ndarray = (exponents / exponents.sum(axis=-1, keepdims=True)).astype(kind)
    return found


def normalized(values: np.ndarray) -> np.ndarray:
    """Vectors of the last axis at length 1; zeros stay."""
    wide = values.astype(np.float64)
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    found: np.ndarray = (wide / np.maximum(length, 1e-12)).astype(np.float32)
    return found


def _applied(step: Step, value: np.ndarray, labels: Sequence[str]) -> Any:
    if step.name == "softmax":
        return softmax(value)
    if step.name == "normalize":
        return normalized(value)
    named = len(labels) == value.shape[-1]
    if step.name == "argmax":
        best = value.argmax(axis=-1)
        return np.array(labels, dtype=object)[best] if named else best
    order = np.argsort(-value, axis=-1, kind="stable")[..., : step.count]
    scores = np.take_along_axis(value, order, axis=-1)
    return [
        [
            {"label": labels[index], "score": float(score)}
            if named
            else {"index": int(index), "score": float(score)}
            for index, score in zip(indices, row, strict=True)
        ]
        for indices, row in zip(
            order.reshape(-1, order.shape[-1]), scores.reshape(-1, order.shape[-1]), strict=True
        )
    ]


def read_labels(given: str | None, folder: Path, metadata: Mapping[str, str]) -> list[str]:
    """Names of classes: of the file asked for, the model's metadata, config.json, labels.txt.

    Raises:
        BadInput: the file asked for holds no labels.
    """
    if given is not None:
        found = _label_file(Path(given))
        if not found:
            raise BadInput(
                f"{safe(given)} holds no labels",
                hint="a label a line, a JSON list, or a config.json with id2label",
            )
        return found
    for key in _LABEL_KEYS:
        if key in metadata and (found := _label_list(_literal(metadata[key]))):
            return found
    for name in ("config.json", "labels.txt"):
        if found := _label_file(folder / name):
            return found
    return []


def _label_file(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    if path.suffix.lower() != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return _label_list(told.get("id2label") if isinstance(told, dict) else told)


def _literal(text: str) -> Any:
    """A list or mapping as JSON, or as Python writes it (YOLO exports do); else words."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return [word.strip() for word in text.split(",")] if "," in text else None


def _label_list(told: Any) -> list[str]:
    if isinstance(told, dict):
        try:
            keyed = {int(key): str(value) for key, value in told.items()}
        except (ValueError, TypeError):
            return []
        return (
            [keyed[index] for index in range(len(keyed))]
            if 0 in keyed and (set(keyed) == set(range(len(keyed))))
            else []
        )
    if isinstance(told, list):
        return [str(label) for label in told]
    return []
