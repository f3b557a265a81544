import json
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import BadInput, UsageError
from modelkit.inference.post import (
    Step,
    apply_steps,
    normalized,
    read_labels,
    read_steps,
    softmax,
)

SCORES = np.array([[1.0, 3.0, 2.0]], np.float32)
LABELS = ["cat", "dog", "eel"]


def test_steps_as_typed() -> None:
    assert read_steps(["softmax", "z=topk:2", "argmax"], ["y", "z"]) == [
        Step("y", "softmax"),
        Step("z", "topk", 2),
        Step("y", "argmax"),
    ]
    assert read_steps(["topk"], ["y"])[0].count == 5
    for text in ("sigmoid", "topk:0", "topk:x", "softmax:2"):
        with pytest.raises(UsageError, match="is unknown"):
            read_steps([text], ["y"])
    with pytest.raises(UsageError, match="no output 'q'"):
        read_steps(["q=softmax"], ["y"])


def test_softmax_is_stable_and_keeps_its_type() -> None:
    found = softmax(np.array([[1000.0, 1000.0], [-np.inf, 0.0]], np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert softmax(np.zeros((2, 0))).shape == (2, 0)


def test_unit_vectors() -> None:
    assert normalized(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


def test_classes_with_and_without_labels() -> None:
    steps = read_steps(["softmax", "topk:2"], ["y"])
    (best, second) = apply_steps(steps, {"y": SCORES}, LABELS)["y"][0]
    assert (best["label"], second["label"]) == ("dog", "eel")
    assert best["score"] == pytest.approx(0.6652, abs=1e-4)
    assert apply_steps(steps, {"y": SCORES}, ["other"])["y"][0][0]["index"] == 1
    named = apply_steps(read_steps(["argmax"], ["y"]), {"y": SCORES}, LABELS)["y"]
    assert named.tolist() == ["dog"]


def test_a_step_on_texts_is_refused() -> None:
    with pytest.raises(UsageError, match="needs numbers"):
        apply_steps(read_steps(["softmax"], ["y"]), {"y": np.array(["a"])}, [])
    twice = read_steps(["topk:1", "softmax"], ["y"])
    with pytest.raises(UsageError, match="needs numbers"):
        apply_steps(twice, {"y": SCORES}, [])


def test_labels_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a\nb\n")
    (tmp_path / "labels.txt").write_text("c\nd\n")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "e", "1": "f"}}))
    assert read_labels(str(tmp_path / "mine.txt"), tmp_path, {}) == ["a", "b"]
    assert read_labels(None, tmp_path, {"names": "{0: 'g', 1: 'h'}"}) == ["g", "h"]
    assert read_labels(None, tmp_path, {}) == ["e", "f"]
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "e", "7": "f"}}))
    assert read_labels(None, tmp_path, {"classes": "x, y"}) == ["x", "y"]
    assert read_labels(None, tmp_path, {"names": "__import__('os')"}) == ["c", "d"]
    with pytest.raises(BadInput, match="holds no labels"):
        read_labels(str(tmp_path / "nothere.txt"), tmp_path, {})
