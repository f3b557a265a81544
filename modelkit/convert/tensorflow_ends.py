"""Where a TensorFlow graph begins and ends, and what of it lies between."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_DEFAULTED = "PlaceholderWithDefault"
# Nodes nobody reads that are still no results.
_NO_RESULTS = ("Const", "NoOp", "Assert", *_PLACEHOLDERS, "VariableV2", "Assign", "SaveV2",
               "RestoreV2", "VarHandleOp", "AssignVariableOp", "Switch", "Merge", "Shape", "Rank",
               "Size")  # fmt: skip
_GATHERS = ("Gather", "GatherV2", "ResourceGather")
# Operators behind which an index is still the same index.
_KEEPING = ("Cast", "Identity", "Reshape", "Squeeze", "ExpandDims")
_LIKELY = ("Softmax", "Sigmoid")


def tensor(name: str) -> str:
    """The tensor that a name of the user means: "x" is "x:0"."""
    return name if ":" in name else f"{name}:0"


def short(name: str) -> str:
    """A tensor's name without ":0"."""
    return name.removesuffix(":0")


def placeholders(definition: Any) -> list[str]:
    """The names of all placeholders."""
    return [n.name for n in definition.node if n.op in _PLACEHOLDERS]


def results(definition: Any, inputs: Sequence[str]) -> list[str]:
    """Nodes that depend on ``inputs`` and that nobody reads; what only steers is none."""
    read = {source for node in definition.node for source in _sources(node)}
    readers: dict[str, list[str]] = {}
    for node in definition.node:
        for source in _sources(node):
            readers.setdefault(source, []).append(node.name)
    reached = _spread((node_of(name) for name in inputs), readers)
    kinds = {node.name: node for node in definition.node}
    return [
        n.name
        for n in definition.node
        if n.name in reached
        and n.name not in read
        and n.op not in _NO_RESULTS
        and not _steers(n, kinds)
    ]


def likeliest(definition: Any, names: Sequence[str]) -> list[str]:
    """``names`` behind the nodes that results usually are, last first."""
    usual = [node.name for node in reversed(definition.node) if node.op in _LIKELY]
    return list(dict.fromkeys([*usual, *names]))


def between(definition: Any, inputs: Sequence[str], outputs: Sequence[str]) -> list[Any]:
    """The nodes that ``outputs`` need once ``inputs`` are given, those of the inputs too."""
    kinds = {node.name: node for node in definition.node}
    ends = {node_of(name) for name in inputs}
    sources = {name: [] if name in ends else _sources(node) for name, node in kinds.items()}
    reached = _spread((node_of(name) for name in outputs), sources)
    return [node for node in definition.node if node.name in reached]


def operators(definition: Any, nodes: Sequence[Any]) -> set[str]:
    """The operators of ``nodes`` and of the functions that they call."""
    functions = {function.signature.name: function for function in definition.library.function}
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        found.add(node.op)
        called = {node.op}
        for value in node.attr.values():
            called |= {value.func.name, *(each.name for each in value.list.func)}
        for name in called & set(functions):
            waiting += functions.pop(name).node_def
    return found


def settled(needed: Iterable[Any], inputs: Sequence[str]) -> list[str]:
    """Make single flags False that are needed and no inputs: whether the model is in training.

    Other placeholders with a default are plain ones among ``inputs``, and the default elsewhere.
    The nodes are changed; the names of the flags are given back.
    """
    known = {node_of(name) for name in inputs}
    flags = []
    for node in needed:
        if node.op not in (*_PLACEHOLDERS, _DEFAULTED):
            continue
        if node.name not in known and _is_flag(node):
            node.op = "Const"
            node.attr.pop("shape", None)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(False))
            flags.append(node.name)
        elif node.op == _DEFAULTED and node.name not in known:
            node.op = "Identity"
            node.attr["T"].CopyFrom(node.attr.pop("dtype"))
            node.attr.pop("shape", None)
            continue
        elif node.op == _DEFAULTED:
            node.op = _PLACEHOLDERS[0]
        del node.input[:]
    return flags


def indexed_rows(definition: Any) -> dict[str, int]:
    """The rows of the smallest constant table that a Gather reads, by what it is read with.

    That is the name of a placeholder, or of another node where that is further away.
    """
    kinds = {node.name: node for node in definition.node}
    found: dict[str, int] = {}
    for node in definition.node:
        if node.op in _GATHERS and len(node.input) > 1:
            table = kinds.get(_origin(node.input[0], kinds, ("Identity",)))
            sizes = (
                [dim.size for dim in table.attr["value"].tensor.tensor_shape.dim] if table else []
            )
            if len(sizes) > 1:
                index = _origin(node.input[1], kinds, _KEEPING)
                found[index] = min(int(sizes[0]), found.get(index, int(sizes[0])))
    return found


def _origin(name: str, kinds: dict[str, Any], through: Sequence[str]) -> str:
    """The node that ``name`` is, or that stands before operators of ``through``."""
    name = node_of(name)
    while (node := kinds.get(name)) is not None and node.op in through and node.input:
        name = node_of(node.input[0])
    return name


def _is_flag(node: Any) -> bool:
    shape = node.attr["shape"].shape
    return node.attr["dtype"].type == tf.bool.as_datatype_enum and not shape.dim


def _steers(node: Any, kinds: dict[str, Any]) -> bool:
    """Whether a node is what is left of a tf.cond: a side of a Switch, or the flag itself."""
    source = kinds.get(node_of(node.input[0])) if node.op == "Identity" and node.input else None
    return source is not None and (
        source.op == "Switch" or (source.op in _PLACEHOLDERS and _is_flag(source))
    )


def _sources(node: Any) -> list[str]:
    return [node_of(name) for name in node.input]


def node_of(name: str) -> str:
    """The node that makes a tensor, or that has to run first ("^x")."""
    return name.lstrip("^").split(":")[0]


def _spread(starts: Iterator[str], beside: dict[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += beside.get(name, ())
    return reached
