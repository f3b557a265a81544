"""SmoothQuant: move the large channels of an activation into the weights that read it.

Why: one scale for a whole activation is wasted on a few large channels.  x is divided by s per
channel and the rows of the weights are multiplied by s; the strength of s is chosen per activation
by the error it leaves at the layers' outputs.  The division is folded into what makes x (a
normalization, the value projection behind an attention) where nothing else reads it, else it is
one Mul, which must earn the time it takes.  Equal: up to float rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of
from modelkit.passes.maker import Maker
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.heads import heads_of
from modelkit.quantize.observe import Samples, observe
from modelkit.quantize.plan import Layer, Plan
from modelkit.quantize.weights import array_of, symmetric

_STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_ROWS = 1024
_WORTHWHILE = 1.12  # times less error energy, where the division costs nothing
# Where it is a Mul it must bring more, the fewer columns read it: behind a Gelu of MiniLM, that is
# 384, a Mul costs 0.6 % of the time; before the projections, 1152, it costs 0.2 %.
_WORTH_A_MUL = (2.0, 4.0)
_COLUMNS = 1280
_TINY = 1e-6
_RARE = 0.5  # of the median: MiniLM gains 0.8 dB by it; at 1.0 a ViT with outliers loses 1.5 dB


@dataclass
class Channels:
    """Largest magnitude of each channel over all samples, and some of the rows."""

    peak: np.ndarray
    rows: np.ndarray
    keys: np.ndarray


@dataclass(frozen=True)
class Smoothed:
    """One activation: how strongly, how much smaller the error became, and whether folded."""

    tensor: str
    strength: float
    gain: float
    folded: bool


def smooth(
    model: Model,
    plan: Plan,
    samples: Samples,
    *,
    largest: int = 127,
    thrifty: bool = True,
    seed: int = 0,
) -> list[Smoothed]:
    """Smooth the inputs of the planned linear layers in place, where it makes errors smaller.

    Who is ``thrifty`` asks more of what takes time.
    """
    groups: dict[ir.Value, list[Layer]] = {}
    # What comes as integers from a convolution is not touched: a Mul there would break the chain.
    integers = plan.integers()
    for layer in plan.layers:
        if not layer.is_conv and layer.x not in integers:
            groups.setdefault(layer.x, []).append(layer)
    if not groups:
        return []
    seen = channels_of(model, [x.name or "" for x in groups], samples, seed)
    done = []
    for x, layers in groups.items():
        found = seen.get(x.name or "")
        if found is None:
            continue
        least = _WORTHWHILE
        if thrifty and not _folds(model.graph, x, layers, len(found.peak)):
            columns = sum(array_of(layer.weight).shape[1] for layer in layers)
            least = float(np.clip(_COLUMNS / columns, *_WORTH_A_MUL))
        chosen = choose(found, layers, largest, least)
        if chosen is None:
            continue
        strength, gain, factors = chosen
        folded = _apply(model.graph, x, layers, factors)
        done.append(Smoothed(x.name or "", strength, gain, folded))
    return done


def channels_of(
    model: Model, names: Sequence[str], samples: Samples, seed: int = 0, count: int = _ROWS
) -> dict[str, Channels]:
    """Peaks of the last axis and a random choice of ``count`` rows, each row equally likely."""
    random = np.random.default_rng(seed)
    found: dict[str, Channels] = {}

    def see(name: str, value: np.ndarray) -> None:
        rows = value.reshape(-1, value.shape[-1]) if value.size else value.reshape(0, 1)
        if not len(rows):
            return
        keys = random.random(len(rows))
        peak = np.abs(rows).max(axis=0)
        old = found.get(name)
        if old is not None:
            peak = np.maximum(peak, old.peak)
            rows, keys = np.concatenate([old.rows, rows]), np.concatenate([old.keys, keys])
        best = np.argsort(keys)[:count]
        found[name] = Channels(peak, rows[best].copy(), keys[best])

    observe(model, names, samples, see)
    return found


def choose(
    channels: Channels, layers: Sequence[Layer], largest: int, least: float = _WORTHWHILE
) -> tuple[float, float, np.ndarray] | None:
    """The best strength, the gain in error energy and the factors; None: it is below ``least``."""
    peak = np.maximum(channels.peak, _floor(channels.peak))
    weights = [array_of(layer.weight) for layer in layers]
    heights = np.maximum(np.max([np.abs(w).max(axis=1) for w in weights], axis=0), _TINY)
    exact = [channels.rows @ weight for weight in weights]
    plain = _error(channels.rows, peak, weights, exact, largest)
    best, strength, factors = plain, 0.0, np.ones_like(peak)
    for each in _STRENGTHS:
        s = peak**each / heights ** (1 - each)
        s = np.maximum(s / np.exp(np.log(s).mean()), 1e-4).astype(np.float32)
        scaled = [weight * s[:, None] for weight in weights]
        error = _error(channels.rows / s, peak / s, scaled, exact, largest)
        if error < best:
            best, strength, factors = error, each, s
    if strength == 0.0 or plain < best * least:
        return None
    return strength, plain / max(best, 1e-30), factors


def _floor(peak: np.ndarray) -> float:
    """The least that a channel is taken to reach.

    One that is small on every sample may be as large as its neighbours elsewhere, and magnified
    it would then rule the range: 39 dB became 14 on digits whose outer pixels no sample had lit.
    """
    seen = peak[peak > 0]
    return max(_TINY, _RARE * float(np.median(seen))) if seen.size else _TINY


def _error(
    rows: np.ndarray,
    peak: np.ndarray,
    weights: Sequence[np.ndarray],
    exact: Sequence[np.ndarray],
    largest: int,
) -> float:
    """Noise over signal at the outputs, with activations and weights in eight bits."""
    low, high = min(float(rows.min()), 0.0), max(float(rows.max()), 0.0)
    # The largest value may not be among the rows; the range must hold it all the same.
    high, low = (max(high, float(peak.max())), low) if high >= -low else (high, -float(peak.max()))
    step = (high - low) / 255 or 1.0
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step
    total = 0.0
    for weight, reference in zip(weights, exact, strict=True):
        values, scale = symmetric(weight, 1, largest)
        noise = rounded @ (values * scale) - reference
        total += float(np.square(noise).sum() / (np.square(reference).sum() + 1e-12))
    return total


def _apply(graph: ir.Graph, x: ir.Value, layers: Sequence[Layer], factors: np.ndarray) -> bool:
    made: dict[ir.Value, ir.Value] = {}
    for layer in layers:
        if layer.weight not in made:
            scaled = array_of(layer.weight) * factors[:, None]
            made[layer.weight] = add_constant(graph, f"{layer.weight.name}_smooth", scaled)
    inverse = (1 / factors).astype(np.float32)
    folded = _folds(graph, x, layers, len(inverse))
    source = x
    if folded:
        _scale(graph, x, inverse, foldable_only=False)
    else:
        maker = Maker(graph, layers[0].node)
        factor = add_constant(graph, f"{x.name}_smooth", inverse)
        source = maker.make("Mul", [x, factor], first=True)
        source.shape, source.type = x.shape, x.type
    for layer in layers:
        layer.node.replace_input_with(1, made[layer.weight])
        layer.node.replace_input_with(0, source)
    return folded


def _folds(graph: ir.Graph, x: ir.Value, layers: Sequence[Layer], width: int) -> bool:
    """Whether what makes ``x`` can give it divided by channel, and only ``layers`` read it."""
    nodes = {layer.node for layer in layers}
    only = not x.is_graph_output() and all(user in nodes for user, _ in x.uses())
    return only and _scale(graph, x, np.ones(width, np.float32), foldable_only=True)


def _scale(graph: ir.Graph, x: ir.Value, factor: np.ndarray, *, foldable_only: bool) -> bool:
    """Make ``x`` come out multiplied by ``factor`` [channels of the last axis], if possible.

    Shared initializers are not touched: the changed ones are new.  With ``foldable_only`` nothing
    changes and only the answer is given.
    """
    node = x.producer()
    if node is None or node.graph is not graph:
        return False
    places = _vectors(node, len(factor))
    source = None
    if places is None and heads_of(node) is not None:
        source = _value_of(node, len(factor))
    elif places is None and is_onnx(node, "Add"):
        side = next((i for i in (0, 1) if _is_vector(node.inputs[i], len(factor))), None)
        if side is not None:
            places, source = (side,), node.inputs[1 - side]
    if places is None and source is None:
        return False
    if source is not None:
        if source.is_graph_output() or len(list(source.uses())) != 1:
            return False
        if not _scale(graph, source, factor, foldable_only=foldable_only):
            return False
    if foldable_only:
        return True
    for place in places or ():
        old = node.inputs[place]
        changed = add_constant(graph, f"{old.name if old else ''}_folded", array_of(old) * factor)
        node.replace_input_with(place, changed)
    return True


def _vectors(node: ir.Node, width: int) -> tuple[int, ...] | None:
    """The constant inputs whose last axis scales with the result, all there is to change."""
    if is_onnx(node, "LayerNormalization") and node.attributes.get_int("axis", -1) in (-1, None):
        places = tuple(i for i in (1, 2) if i < len(node.inputs) and node.inputs[i] is not None)
        fits = all(_is_vector(node.inputs[i], width) for i in places)
        return places if fits and len(node.outputs) == 1 else None
    if is_onnx(node, "RMSNormalization", "SimplifiedLayerNormalization"):
        return (1,) if _is_vector(node.inputs[1], width) else None
    if is_onnx(node, "MatMul"):
        weight = const_of(node.inputs[1])
        return (1,) if weight is not None and weight.ndim == 2 else None
    if is_onnx(node, "Mul"):
        side = next((i for i in (0, 1) if _is_vector(node.inputs[i], width)), None)
        return None if side is None else (side,)
    return None


def _is_vector(value: ir.Value | None, width: int) -> bool:
    array = const_of(value)
    return array is not None and array.dtype == np.float32 and array.shape == (width,)


def _value_of(node: ir.Node, width: int) -> ir.Value | None:
    """The values an Attention mixes, where its result has their channels: as many heads in both."""
    heads = heads_of(node)
    if heads is None or heads[0] != heads[1]:
        return None
    value = node.inputs[2]
    if value is None or value.shape is None or len(value.shape) != 3:
        return None
    return value if value.shape[-1] == width else None
