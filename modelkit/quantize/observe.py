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
from modelkit.passes.cut import values_of
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
                    check_finite(model, name, value, count, holding_nan(feeds))
                    see(name, value)
                count += 1
    if not count:
        raise no_samples()
    return count


def no_samples() -> CheckFailed:
    """What to say of data that holds nothing."""
    return CheckFailed("the calibration data holds no sample", code="no-samples")


def holding_nan(feeds: Feeds) -> str | None:
    """The input that holds NaN, if one does; infinity may be meant, as in a mask."""
    for given, value in feeds.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any():
            return given
    return None


def check_finite(
    model: Model, name: str, value: np.ndarray, sample: int, given: str | None
) -> None:
    """Refuse NaN and infinity in the tensor ``name``; ``given`` is the input that brought them.

    Raises:
        CheckFailed: it holds one, named by tensor, node and sample.
    """
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise _not_finite(model, given or name, sample)


def _tapped(model: Model, names: Sequence[str]) -> Model:
    copy = clone(model)
    taken = {value.name for value in (*copy.graph.inputs, *copy.graph.outputs)}
    values = values_of(copy.graph)
    copy.graph.outputs.extend(values[name] for name in names if name not in taken)
    return copy


def _not_finite(model: Model, name: str, sample: int) -> CheckFailed:
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
