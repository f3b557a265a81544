import json
from pathlib import Path

import numpy as np
import pytest

from modelkit.comparison.scores import read_targets, scorer
from modelkit.errors import BadInput, UsageError

LABELS = np.array([0, 2, 1, 2])
A = np.array([[3, 1, 0], [0, 1, 2], [0, 3, 1], [5, 1, 4]], np.float32)  # 3 of 4 right
B = np.array([[3, 1, 0], [0, 1, 2], [4, 3, 1], [5, 4, 1]], np.float32)  # 2 of 4 right


def score(metric: str | None, labels: np.ndarray | None, a: np.ndarray = A, b: np.ndarray = B):  # type: ignore[no-untyped-def]
    found = scorer(metric, labels)
    for rows in (slice(0, 1), slice(1, 4)):
        found.add(a[rows], b[rows])
    return found.result()[0]


@pytest.mark.parametrize(
    ("metric", "a", "b"),
    [
        ("top1", 0.75, 0.5),
        ("top5", 1.0, 1.0),
        ("mrr", (1 + 1 + 1 + 1 / 2) / 4, (1 + 1 + 1 / 2 + 1 / 3) / 4),
        ("f1", (2 / 3 + 2 / 3 + 1) / 3, (2 / 4 + 2 / 3 + 0) / 3),
    ],
)
def test_metrics_with_labels(metric: str, a: float, b: float) -> None:
    found = score(metric, LABELS)
    assert (found.a, found.b) == (pytest.approx(a), pytest.approx(b))
    assert (found.samples, found.labelled) == (4, True)


def test_without_labels_it_is_agreement_with_a() -> None:
    found = score(None, None)
    assert (found.metric, found.a, found.b, found.labelled) == ("top1", 1.0, 0.75, False)


def test_rmse() -> None:
    labels = np.array([1.0, 2, 3, 4])
    values = np.array([[1.0], [2], [3], [6]], np.float32)
    found = score("rmse", labels, values, values + 1)
    assert found.a == pytest.approx(1.0)
    assert found.b == pytest.approx(np.sqrt((1 + 1 + 1 + 9) / 4))


def test_the_users_own_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metric.py").write_text(
        "def total(outputs, labels):\n    return float(outputs.sum() + labels.sum())\n"
    )
    monkeypatch.chdir(tmp_path)
    assert score("own_metric:total", LABELS).a == A.sum() + 5
    with pytest.raises(UsageError, match="cannot be imported"):
        scorer("own_metric:nothing", None)
    (tmp_path / "bad_metric.py").write_text("def broken(outputs, labels):\n    return 1 / 0\n")
    with pytest.raises(UsageError, match="fails") as caught:
        score("bad_metric:broken", LABELS)
    assert "ZeroDivisionError" in caught.value.cause
    (tmp_path / "no_python.py").write_text("def (")
    with pytest.raises(UsageError, match="cannot be imported"):
        scorer("no_python:f", None)


@pytest.mark.parametrize("metric", ["accuracy", "a:b c", ":f"])
def test_unknown_metrics(metric: str) -> None:
    with pytest.raises(UsageError, match="unknown metric"):
        scorer(metric, None)


def test_labels_must_fit_the_rows() -> None:
    with pytest.raises(UsageError, match="there are 3 labels"):
        score("top1", LABELS[:3])
    with pytest.raises(UsageError, match="there are 5 labels and 4 rows"):
        score("top1", np.zeros(5))
    with pytest.raises(UsageError, match="no class"):
        score("top1", LABELS + 2)
    for metric in ("top1", "f1"):
        for labels in (LABELS + 0.5, np.stack([LABELS, LABELS], axis=1)):
            with pytest.raises(UsageError, match="one whole number a row"):
                score(metric, labels)
    with pytest.raises(UsageError, match="a row holds 3 values and its label 1"):
        score("rmse", LABELS)


def test_labels_in_every_form(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", LABELS)
    (tmp_path / "l.json").write_text(json.dumps(LABELS.tolist()))
    (tmp_path / "l.txt").write_text("0\n2\n1\n2\n")
    for name in ("l.npy", "l.json", "l.txt"):
        found = read_targets(str(tmp_path / name))
        assert found is not None
        assert found.tolist() == LABELS.tolist()
    (tmp_path / "bad.txt").write_text("cat\n")
    with pytest.raises(BadInput, match="holds no labels"):
        read_targets(str(tmp_path / "bad.txt"))
