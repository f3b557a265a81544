"""Run a model on sample after sample and look at values inside it.

One session, one sample at a time: what is held is one sample's values, however many samples there
are.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.errors import CheckFailed
from modelkit.model import Model, clone, save
from modelkit.runtime.session import Feeds, open_session
from modelkit.safe import safe

Samples = Callable[[], Iterator[Feeds]]
"""Starts over with every call, so that data larger than memory can be read twice."""

See = Callable[[str, np.ndarray], None]


def observe(model: Model, names: Sequence[str], samples: Samples, see: See) -> int:
    """Call ``see(name, value)`` for each of ``names`` on every sample; the number of samples.

    ``model`` is not changed.  Names of graph inputs are allowed.

    Raises:
        CheckFailed: a value holds NaN or infinity, named by tensor, node and sample; or there
            was no sample.
    """
    wanted = list(dict.fromkeys(names))
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(_tapped(model, wanted), Path(folder) / "observed.onnx")
        with open_session(path) as session:
            count = 0
            for feeds in samples():
                values = session.run(feeds)
                for name in wanted:
                    value = values[name] if name in values else feeds[name]
                    if value.dtype.kind == "f" and not np.isfinite(value).all():
                        raise not_finite(model, _origin(feeds, name), count)
                    see(name, value)
                count += 1
    if not count:
        raise CheckFailed("the calibration data holds no sample", code="no-samples")
    return count


def _origin(feeds: Feeds, name: str) -> str:
    """Where what is not finite in the tensor ``name`` comes from: an input that holds NaN, or it.

    Infinity in an input may be meant, as in a mask.
    """
    for given, value in feeds.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any():
            return given
    return name


def _tapped(model: Model, names: Sequence[str]) -> Model:
    copy = clone(model)
    taken = {value.name for value in (*copy.graph.inputs, *copy.graph.outputs)}
    values = {
        output.name: output
        for node in copy.graph
        for output in node.outputs
        if output.name is not None
    }
    copy.graph.outputs.extend(values[name] for name in names if name not in taken)
    return copy


def not_finite(model: Model, name: str, sample: int) -> CheckFailed:
    """What to say of the tensor ``name``, which is not finite on a sample."""
    maker = next(
        (node for node in model.graph if any(out.name == name for out in node.outputs)), None
    )
    place = _place(maker)
    return CheckFailed(
        f"tensor '{safe(name)}' holds NaN or infinity on calibration sample {sample + 1}",
        cause=f"{place}; no range can be found for it",
        hint="remove that sample, or keep the layers that read it in float by --exclude",
        code="not-finite",
    )


def _place(maker: ir.Node | None) -> str:
    if maker is None:
        return "it is an input"
    return f"{maker.op_type} '{safe(maker.name or '')}' makes it"
