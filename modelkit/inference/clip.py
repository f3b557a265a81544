"""A CLIP folder: images and texts in, unit features, similarities and probabilities out.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
2021: the cosine of both features times a learned scale, softmax over the texts.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelkit.errors import BadInput, UsageError
from modelkit.inference.post import normalized, softmax
from modelkit.model import LOGIT_SCALE, load
from modelkit.runtime.data import read_samples
from modelkit.runtime.data.settings import Preprocessing, kept_settings
from modelkit.runtime.session import Feeds, Session, Setup
from modelkit.safe import safe

VISUAL, TEXTUAL = "visual.onnx", "textual.onnx"
_BATCH = 32


@dataclass(frozen=True)
class Pairing:
    """Features of unit length [images, d] and [texts, d], their cosines times ``scale``
    [images, texts], and the probability of each text for each image.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    image_features: np.ndarray
    text_features: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    scale: float


def is_clip(folder: Path) -> bool:
    """Whether ``folder`` holds both halves under the names that ``convert`` gives them."""
    return (folder / VISUAL).is_file() and (folder / TEXTUAL).is_file()


def run_clip(
    folder: Path,
    images: str,
    texts: str,
    setup: Setup,
    settings: Preprocessing,
    *,
    logit_scale: float | None = None,
) -> Pairing:
    """Both halves on an image (or a folder of them) and a .txt (or one text).

    Raises:
        BadInput, UsageError: files that do not fit; no logit scale anywhere.
    """
    scale = logit_scale if logit_scale is not None else _scale(folder)
    names, image_features = _features(folder / VISUAL, Path(images), setup, settings)
    sentences = _sentences(texts)
    rows = _text_features(folder / TEXTUAL, sentences, setup, settings)
    if image_features.shape[-1] != rows.shape[-1]:
        raise BadInput(
            f"{safe(str(folder))}: features of {image_features.shape[-1]} and {rows.shape[-1]}"
            " values do not belong together"
        )
    logits = (scale * (image_features @ rows.T)).astype(np.float32)
    return Pairing(names, tuple(sentences), image_features, rows, logits, softmax(logits), scale)


def _scale(folder: Path) -> float:
    """The factor of the cosine that was learned, as the models' metadata keep it."""
    for name in (TEXTUAL, VISUAL):
        kept = load(folder / name).metadata_props.get(LOGIT_SCALE)
        try:
            scale = float(kept) if kept else math.nan
        except ValueError:
            continue
        if math.isfinite(scale) and scale > 0:
            return scale
    hint = "add --logit-scale, as --logit-scale 100 (OpenAI's models learned 100)"
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        start = math.exp(float(told["logit_scale_init_value"]))
        hint += f"; config.json tells only where training began, {start:.4g}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass
    raise UsageError(f"{safe(str(folder))} does not tell its logit scale", hint=hint)


def _features(
    model: Path, images: Path, setup: Setup, settings: Preprocessing
) -> tuple[tuple[str, ...], np.ndarray]:
    chosen = settings.over(kept_settings(dict(load(model).metadata_props), model.parent))
    names: list[str] = []
    rows: list[np.ndarray] = []
    with setup.open(model) as session:
        for sample in read_samples(images, session.inputs, settings=chosen):
            names.append(sample.name)
            rows.append(_feature(session, sample.feeds))
    return tuple(names), np.concatenate(rows)


def _text_features(
    model: Path, sentences: Sequence[str], setup: Setup, settings: Preprocessing
) -> np.ndarray:
    from modelkit.runtime.data.texts import tokenized

    with setup.open(model) as session:
        feeds: Iterator[Feeds] = tokenized(
            sentences, session.inputs, model.parent, settings, batch=_BATCH, path=model
        )
        return np.concatenate([_feature(session, each) for each in feeds])


def _feature(session: Session, feeds: Feeds) -> np.ndarray:
    """The output of two axes (the projected feature), at unit length."""
    outputs = session.run(feeds)
    found = next((value for value in outputs.values() if value.ndim == 2), None)
    if found is None:
        raise BadInput(f"{safe(str(session.path))} has no output of two axes, a feature a row")
    return normalized(found)


def _sentences(texts: str) -> list[str]:
    path = Path(texts)
    if path.suffix == ".txt" or path.is_file():
        from modelkit.runtime.data.records import lines_of

        found = list(lines_of(path))
        if not found:
            raise BadInput(f"{safe(texts)} holds no text")
        return found
    return [texts]
