"""Weights in few bits, activations in float: for size, and for speed where reading weights rules.

The last linear layer of a path (the head) and embedding tables take eight bits: an error there is
not evened out by anything behind it.  A table that the head multiplies by is kept once for both.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.model import Model, clone, const_of, release
from modelkit.model.walk import bodies, graphs, inside
from modelkit.passes import run_passes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.block_tables import BlockTables
from modelkit.quantize.blocks import Blocks, Rounded
from modelkit.quantize.embeddings import is_table
from modelkit.quantize.gptq import Guided
from modelkit.quantize.linears import normalize_linears
from modelkit.quantize.merge import is_decoder, merge_linears
from modelkit.quantize.moments import Moments, Stage, gather, stages
from modelkit.quantize.nbits import DOMAIN, Nbits, unfit
from modelkit.quantize.observe import Samples
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.prepare import prepared
from modelkit.quantize.weights import is_weight, why_without
from modelkit.runtime import metrics

_OLDEST_OPSET = 11
_AT_ONCE = 1 << 22
# Operators with weights that stay as they are, and why.
_REASONS = {
    "Conv": "weight-only kernels take matrices; static quantization fits convolutions",
    "ConvTranspose": "weight-only kernels take matrices",
    "Gemm": "its activation is transposed, or its weight is not the second operand",
    "LSTM": "weight-only kernels take no recurrent layers",
    "GRU": "weight-only kernels take no recurrent layers",
    "RNN": "weight-only kernels take no recurrent layers",
    "Einsum": "weight-only kernels take plain products",
    "Attention": "its projections are inside the operator",
    "FusedMatMul": "a fused form; quantize before fusing",
}


@dataclass
class WeightOnly:
    """One run over a prepared model.

    ``noise`` says, once the model is written, how many decibels of signal over noise each layer
    keeps: of its products where ``samples`` were given, else of its weights.
    """

    blocks: Blocks
    samples: Samples | None = None
    exclude: Sequence[re.Pattern[str]] = ()
    exclude_op: Sequence[str] = ()
    outcome: Outcome = field(default_factory=Outcome)
    noise: dict[str, float] = field(default_factory=dict)
    guided: int = 0
    heads: int = 0
    tables: int = 0
    merged: int = 0

    def run(self, model: Model) -> Model:
        """A copy in which linear layers and tables take fewer bits.

        Raises:
            Unsupported: an opset that cannot be raised to 11.
            CheckFailed: a sample makes NaN or infinity.
        """
        copy = prepared(model, _OLDEST_OPSET)
        normalize_linears(copy)
        run_passes(copy, (remove_unused, infer_symbols))
        if is_decoder(copy):
            self.merged = merge_linears(copy, lambda node: self._reason(node) is not None).count
        layers, gathers = self._candidates(copy)
        heads = _heads(copy, layers) if len(layers) > 1 and self.blocks.bits < 8 else set()
        self.heads = len(heads)
        sizes = {
            node: replace(self.blocks, bits=8, symmetric=True) if node in heads else self.blocks
            for node, _ in layers
        }
        nbits = Nbits(seen=self._seen)
        if self.samples is not None:
            self._lead(copy, [node for node, _ in layers if sizes[node].bits < 8], nbits)
        for node, graph in layers:
            if node.graph is not None:  # else it has been done
                if self.samples is not None and graph is not copy.graph:
                    self.outcome.unseen.append(node.name or node.outputs[0].name or "")
                self._count(node, nbits.replace(node, graph, sizes[node], lazy=True))
        tables = BlockTables(nbits)
        for node, graph in gathers:
            self._count(node, tables.shrink(node, graph, replace(self.blocks, bits=8)))
        self.tables = tables.count
        if self.outcome.quantized:
            copy.graph.opset_imports.setdefault(DOMAIN, 1)
        run_passes(copy, (remove_unused,))
        return copy

    def _candidates(
        self, model: Model
    ) -> tuple[list[tuple[ir.Node, ir.Graph]], list[tuple[ir.Node, ir.Graph]]]:
        """Linear layers and gathers of tables that may take fewer bits; the others are noted."""
        layers, gathers = [], []
        functions = {id(function.graph) for function in model.functions.values()}
        for graph in list(graphs(model)):
            if id(graph) in functions:
                continue
            for node in list(graph):
                weights = [value for value in node.inputs if is_weight(value)]
                if not _is_layer(node):
                    continue
                reason = self._reason(node) if weights else why_without(node)
                if not weights and reason is None:
                    continue
                self.outcome.candidates += 1
                if reason is not None:
                    self.outcome.skip(node, reason)
                elif is_onnx(node, "Gather"):
                    gathers.append((node, graph))
                else:
                    layers.append((node, graph))
        return layers, gathers

    def _reason(self, node: ir.Node) -> str | None:
        weights = [value for value in node.inputs if is_weight(value)]
        name = node.name or ""
        if node.op_type in self.exclude_op or any(p.search(name) for p in self.exclude):
            return "excluded by option"
        if not is_onnx(node, "MatMul", "Gather"):
            return _REASONS[node.op_type]
        if is_onnx(node, "MatMul"):
            reason = unfit(node, self.blocks)
            if reason is not None:
                return reason
        return (
            None if all(_finite(value) for value in weights) else "its weights hold NaN or infinity"
        )

    def _count(self, node: ir.Node, reason: str | None) -> None:
        if reason is None:
            self.outcome.quantized += 1
        else:
            self.outcome.skip(node, reason)

    def _lead(self, model: Model, layers: Sequence[ir.Node], nbits: Nbits) -> None:
        """Round the layers of the main graph one stage after another, led by their inputs.

        A stage sees what the stages before it made of the inputs, and so makes up for them.
        """
        assert self.samples is not None
        looks = stages(model.graph, layers)
        with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
            walk = gather(model, clone(model), looks, self.samples, Path(folder))
            for stage, found in walk:
                progress.step(
                    f"rounding layers {stage.first + 1} to {stage.last + 1} of {stage.total}"
                )
                self._round(model.graph, stage, found, nbits)

    def _round(self, graph: ir.Graph, stage: Stage, seen: Moments, nbits: Nbits) -> None:
        for node in stage.layers:
            weight = node.inputs[1]
            assert weight is not None
            lead, name = Guided(seen.own, seen.drift), node.name or node.outputs[0].name or ""

            def rounding(
                array: np.ndarray, blocks: Blocks, lead: Guided = lead, name: str = name
            ) -> Rounded:
                found = lead(array, blocks)
                wrong = lead.error(lead.target(array), found.values(blocks, len(array)))
                self.noise[name] = min(metrics.sqnr(lead.signal(array), wrong), 999.0)
                return found

            tensor = weight.const_value
            self._count(node, nbits.replace(node, graph, self.blocks, rounding))
            release(tensor)
            self.guided += 1

    def _seen(self, name: str, weight: np.ndarray, found: Rounded, blocks: Blocks) -> None:
        signal = wrong = 0.0
        step = max(1, _AT_ONCE // len(weight))
        for start in range(0, weight.shape[1], step):
            columns = slice(start, start + step)
            values = found.columns(columns).values(blocks, len(weight))
            more = metrics.energies(weight[:, columns], values)
            signal, wrong = signal + more[0], wrong + more[1]
        self.noise.setdefault(name, min(metrics.sqnr(signal, wrong), 999.0))


def _is_layer(node: ir.Node) -> bool:
    """Whether ``node`` multiplies by a constant matrix or reads rows of one."""
    if is_onnx(node, "Gather"):
        return is_table(node.inputs[0])
    if is_onnx(node, "MatMul"):
        return not all(is_weight(value) for value in node.inputs)
    return node.op_type in _REASONS


def _finite(value: ir.Value | None) -> bool:
    array = const_of(value)
    assert array is not None
    assert value is not None
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        if not np.isfinite(flat[start : start + _AT_ONCE]).all():
            return False
        release(value.const_value)
    return True


def _heads(model: Model, layers: Sequence[tuple[ir.Node, ir.Graph]]) -> set[ir.Node]:
    """The layers behind which no other layer stands; one in a loop stands behind itself."""
    known = {node for node, _ in layers}
    carriers = {body: node for node in inside(model.graph) for body in bodies(node)}
    return {node for node in known if not _reaches(node, known, carriers)}


def _reaches(node: ir.Node, known: set[ir.Node], carriers: Mapping[ir.Graph, ir.Node]) -> bool:
    """Whether one of ``known`` stands behind ``node``, or behind the If that it is a branch of."""
    seen: set[ir.Node] = set()
    waiting = [node]
    while waiting:
        before = waiting.pop()
        for output in before.outputs:
            carrier = carriers.get(before.graph) if isinstance(before.graph, ir.Graph) else None
            if output.is_graph_output() and carrier is not None:
                if carrier.op_type != "If":
                    return True
                if carrier not in seen:
                    seen.add(carrier)
                    waiting.append(carrier)
            for user, _ in output.uses():
                if user in known:
                    return True
                if user not in seen:
                    seen.add(user)
                    waiting.append(user)
    return False
