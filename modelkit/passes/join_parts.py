"""Compute channels together that stand in parts, as the fusion inverted_residual puts them."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import attribute, constant, is_onnx, replace

_ALIKE = ("Clip", "Gelu", "HardSigmoid", "HardSwish", "Relu", "Resize", "Sigmoid")
"""Operators of one value, each channel alone; what they read besides is the same for all parts."""


class _Unlike(Exception):
    """The branches of a sum are not parts of one."""


def join_parts(model: Model) -> Changes:
    """Turn a sum of 1x1 convolutions, of branches alike that start at one value, into one branch.

    Branches hold convolutions, one for each channel or from what all read, activations, and the
    gates of a squeeze-and-excite block.  Equal up to the order in which channels are added.
    """
    count = 0
    for graph in graphs(model):
        before = count
        for node in reversed(list(graph)):
            terms = _terms(node.outputs[0]) if node.graph is graph and is_onnx(node, "Add") else []
            if len(terms) < 2:
                continue
            try:
                _Join(model, graph, terms[::-1]).apply(node)
            except _Unlike:
                continue
            count += 1
        if count > before:
            graph.sort()
    return Changes(count)


def _terms(value: ir.Value | None) -> list[ir.Value]:
    """The convolutions that ``value`` is the sum of; none if it is another sum."""
    node = None if value is None else value.producer()
    if node is None or value is None:
        return []
    if is_onnx(node, "Conv"):
        return [value]
    parts = [_terms(given) for given in node.inputs] if is_onnx(node, "Add") else [[]]
    return [term for part in parts for term in part] if all(parts) else []


class _Join:
    """The branches that end in ``terms``, and the one to put in their place."""

    def __init__(self, model: Model, graph: ir.Graph, terms: Sequence[ir.Value]) -> None:
        self.model, self.graph, self.terms = model, graph, terms
        self.old: list[ir.Node] = []
        self.new: list[ir.Node] = []
        self.joined: dict[tuple[ir.Value, ...], ir.Value] = {}
        self.means: list[tuple[ir.Node, ir.Value]] = []

    def apply(self, root: ir.Node) -> None:
        """Replace ``root``, the sum of all terms.

        Raises:
            _Unlike: they are not parts of one; no node is changed.
        """
        made = self._last()
        for values, whole in list(self.joined.items()):
            self._mean(values, whole)
        left = self._left(root)
        self.graph.insert_before(root, self.new)
        for concat, mean in self.means:
            replace(concat.outputs[0], mean)
        replace(root.outputs[0], made)
        self.graph.remove(left, safe=True)

    def _last(self) -> ir.Value:
        """One convolution of all channels instead of the terms."""
        nodes = self._alike(self.terms)
        inner = self._whole([node.inputs[0] for node in nodes])
        return self._conv(nodes, inner, axis=1, width=None)

    def _whole(self, values: Sequence[ir.Value | None]) -> ir.Value:
        """``values`` side by side."""
        known = tuple(value for value in values if value is not None)
        if known in self.joined:
            return self.joined[known]
        nodes = self._alike(known)
        first, sources = nodes[0], [node.inputs[0] for node in nodes]
        if is_onnx(first, "Conv"):
            is_start = all(source is sources[0] for source in sources)
            inner = sources[0] if is_start else self._whole(sources)
            width = sum(int(_array(node.inputs[1]).shape[0]) for node in nodes)
            made = self._conv(nodes, inner, axis=0, width=None if is_start else width)
        elif is_onnx(first, "Mul"):
            pairs = [list(node.inputs) for node in nodes]
            whole = [self._whole([pair[side] for pair in pairs]) for side in (0, 1)]
            made = self._node(first, whole, known)
        elif is_onnx(first, *_ALIKE):
            others = first.inputs[1:]
            if any(not _same(node.inputs[1:], others) for node in nodes):
                raise _Unlike
            made = self._node(first, [self._whole(sources), *others], known)
        else:
            raise _Unlike
        self.joined[known] = made
        return made

    def _conv(
        self, nodes: Sequence[ir.Node], source: ir.Value | None, *, axis: int, width: int | None
    ) -> ir.Value:
        """One convolution of the weights of all; ``width`` groups where each channel is alone."""
        weights = [_array(node.inputs[1]) for node in nodes]
        for node, weight in zip(nodes, weights, strict=True):
            group = 1 if width is None else len(weight)
            if attribute(node, "group", 1) != group or (width and weight.shape[1] != 1):
                raise _Unlike
        biases = [node.inputs[2] if len(node.inputs) > 2 else None for node in nodes]
        bias = self._biases(biases, axis)
        name = nodes[0].name or "joined"
        parts: list[tuple[str, np.ndarray]] = [("weight", np.concatenate(weights, axis))]
        parts += [] if bias is None else [("bias", bias)]
        held = [constant(self.model, self.graph, f"{name}_{stem}", part) for stem, part in parts]
        if any(value is None for value in held):
            raise _Unlike
        known = tuple(node.outputs[0] for node in nodes)
        made = self._node(nodes[0], [source, *held], known, summed=axis == 1)
        if width is not None:
            self.new[-1].attributes["group"] = ir.AttrInt64("group", width)
        return made

    @staticmethod
    def _biases(biases: Sequence[ir.Value | None], axis: int) -> np.ndarray | None:
        known = [_array(bias) for bias in biases if bias is not None]
        if not known:
            return None
        if axis == 1:
            return np.asarray(sum(known[1:], known[0]))
        if len(known) < len(biases):
            raise _Unlike
        return np.concatenate(known)

    def _node(
        self,
        like: ir.Node,
        inputs: Sequence[ir.Value | None],
        known: Sequence[ir.Value],
        *,
        summed: bool = False,
    ) -> ir.Value:
        """A node as ``like`` for all of ``known`` together."""
        node = ir.Node(like.domain, like.op_type, inputs, like.attributes.values(), num_outputs=1)
        made = node.outputs[0]
        made.name, made.type, made.shape = f"{known[0].name}_joined", known[0].type, None
        self.new.append(node)
        if known[0].shape is not None and len(known[0].shape) == 4:
            dims, widths = list(known[0].shape), [_channels(value) for value in known]
            if not summed:
                dims[1] = sum(width for width in widths if width is not None)
            if None not in widths:
                made.shape = ir.Shape(dims)
        return made

    def _alike(self, values: Sequence[ir.Value | None]) -> list[ir.Node]:
        """What makes ``values``: nodes of one operator with the same attributes."""
        nodes = [node for value in values if value and (node := value.producer()) is not None]
        kinds = {
            # A convolution may have a bias where another has none.
            (node.op_identifier(), _said(node), is_onnx(node, "Conv") or len(node.inputs))
            for node in nodes
        }
        if len(kinds) != 1 or len(set(nodes)) < len(self.terms):
            raise _Unlike
        self.old += nodes
        return nodes

    def _mean(self, values: Sequence[ir.Value], whole: ir.Value) -> None:
        """Where the means of all ``values`` are put side by side: the mean of ``whole``."""
        means = [_reader(value, "GlobalAveragePool") for value in values]
        concats = {_reader(mean.outputs[0], "Concat") for mean in means if mean is not None}
        concat = concats.pop() if len(concats) == 1 else None
        if concat is None or None in means or attribute(concat, "axis") not in (1, -3):
            return
        found = [mean.outputs[0] for mean in means if mean is not None]
        if list(concat.inputs) != found:
            return
        self.old += [concat, *(mean for mean in means if mean is not None)]
        self.means.append((concat, self._node(self.old[-1], [whole], found)))

    def _left(self, root: ir.Node) -> set[ir.Node]:
        """What is left out, which nobody else may read."""
        left, waiting = set(self.old), [root]
        while waiting:
            node = waiting.pop()
            left.add(node)
            makers = [value.producer() for value in node.inputs if value is not None]
            waiting += [made for made in makers if made is not None and is_onnx(made, "Add")]
        final = {root, *(concat for concat, _ in self.means)}
        for node in left - final:
            used = [user for value in node.outputs for user, _ in value.uses()]
            if any(user not in left for user in used) or node.outputs[0].is_graph_output():
                raise _Unlike
        return left


def _array(value: ir.Value | None) -> np.ndarray:
    array = const_of(value)
    if array is None:
        raise _Unlike
    return array


def _said(node: ir.Node) -> tuple[tuple[str, str], ...]:
    """The attributes, but for the groups of a convolution."""
    said = ((name, str(attribute(node, name))) for name in node.attributes if name != "group")
    return tuple(sorted(said))


def _same(values: Sequence[ir.Value | None], others: Sequence[ir.Value | None]) -> bool:
    """Whether they are the same values, or constants with the same numbers."""

    def equal(one: ir.Value | None, other: ir.Value | None) -> bool:
        if one is other:
            return True
        first, second = const_of(one), const_of(other)
        return first is not None and second is not None and np.array_equal(first, second)

    return len(values) == len(others) and all(map(equal, values, others))


def _reader(value: ir.Value, kind: str) -> ir.Node | None:
    """The only operator of this kind that reads ``value``."""
    readers = [user for user, _ in value.uses() if is_onnx(user, kind)]
    return readers[0] if len(readers) == 1 else None


def _channels(value: ir.Value) -> int | None:
    dim = value.shape[1] if value.shape is not None and len(value.shape) > 1 else None
    return dim if isinstance(dim, int) else None
