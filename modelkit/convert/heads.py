"""From the sums of an ensemble to what its framework predicts: labels and probabilities."""

from collections.abc import Sequence

import numpy as np

from modelkit.convert.draft import Nodes


def sigmoid(nodes: Nodes, raw: str, factor: float, kind: type[np.floating]) -> str:
    """1 / (1 + exp(-factor * raw)), [batch, 1]."""
    if factor != 1.0:
        raw = nodes.add("Mul", raw, nodes.constant(np.array(factor, kind)))
    return nodes.add("Sigmoid", raw)


def two_columns(nodes: Nodes, positive: str, kind: type[np.floating]) -> str:
    """[1 - p, p] from p [batch, 1]."""
    negative = nodes.add("Sub", nodes.constant(np.array(1, kind)), positive)
    return nodes.add("Concat", negative, positive, axis=1)


def softmax(nodes: Nodes, raw: str) -> str:
    """Over the classes."""
    return nodes.add("Softmax", raw, axis=1)


def label(nodes: Nodes, scores: str, classes: Sequence[object]) -> str:
    """The class of the largest score, the first of several; [batch]."""
    best = nodes.add("ArgMax", scores, axis=1, keepdims=0)
    return pick(nodes, best, classes)


def label_above(nodes: Nodes, raw: str, limit: float, kind: type[np.floating]) -> str:
    """0 or 1 by raw [batch, 1] >= limit; [batch] of int64, to be given to :func:`pick`."""
    flag = nodes.add("GreaterOrEqual", raw, nodes.constant(np.array(limit, kind)))
    number = nodes.add("Cast", flag, to=7)
    return nodes.add("Reshape", number, nodes.constant(np.array([-1], np.int64)))


def pick(nodes: Nodes, index: str, classes: Sequence[object]) -> str:
    """The classes at ``index``: int64, or strings."""
    texts = any(isinstance(value, str) for value in classes)
    table = np.array([str(v) for v in classes], dtype=object) if texts else _numbers(classes)
    if not texts and np.array_equal(table, np.arange(len(table))):
        return index
    return nodes.add("Gather", nodes.constant(table), index)


def _numbers(classes: Sequence[object]) -> np.ndarray:
    return np.array(classes).astype(np.int64)
