"""Apply the fusions of a subject to its model."""

from pathlib import Path

from modelkit.model import load, operator_counts
from modelkit.tune import _apply, _model
from modelkit.tune.subjects import Subject


def counts_after(subject: Subject, folder: Path, *, rounds: int = 1) -> dict[str, int]:
    """How many operators of each kind the model of ``subject`` has then."""
    path = folder / "m.onnx"
    path.write_bytes(_model(subject.text, 0).SerializeToString())
    model = load(path)
    for _ in range(rounds):
        _apply(model, (*subject.base, subject.fusion, *subject.also))
    return operator_counts(model)
