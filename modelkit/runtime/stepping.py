"""Steps of a decoder whose caches it updates in place (``model.SharedCache``), on the CPU.

Past and present are bound to one memory, so nothing of a cache is copied from a step to the next.
"""

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from modelkit.errors import UsageError
from modelkit.model import SharedCache
from modelkit.runtime.binding import bind, roomy
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds, Run, Session
from modelkit.safe import safe

_FEWEST = 64  # places of a new buffer; where they run out there are twice as many


def stepping(session: Session, cache: SharedCache) -> Run:
    """A run of one step after the other; feeds hold all caches, or none of them.

    Caches that feeds leave out are those that the step before left, or empty where the mask is as
    long as the tokens; the outputs hold no caches then.  Caches that feeds hold are copied, and the
    outputs hold them as the step left them.

    Raises:
        UsageError: feeds that do not fit the model, or a step that does not follow the last one.
        CheckFailed: an operator failed on these inputs.
    """
    binding = session.raw.io_binding()
    ports = {port.name: port for port in session.inputs if port.name in cache.presents.values()}
    held: dict[str, ort.OrtValue] = {}
    buffers: Feeds = {}
    filled = 0

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        nonlocal filled, buffers
        batch, total, before = _lengths(session, cache, feeds, ports)
        given = any(name in feeds for name in ports)
        if given:
            if any(feeds[name].ndim != 4 for name in ports):
                session.check(feeds)
            ready = roomy(feeds, cache)
            session.check(ready)
            buffers = {name: np.array(ready[name]) for name in ports}
        elif not before:
            buffers = _empty(ports, batch, max(_FEWEST, 2 * total))
        else:
            _check_follows(next(iter(buffers.values()), None), batch, before, filled)
            buffers = _grown(buffers, total, filled)
        ready = {**feeds, **buffers}
        session.check(ready)
        bind(session, binding, "cpu", ready, held, cache)
        session.run_bound(binding)
        filled = total
        found = {}
        for port, value in zip(session.outputs, binding.get_outputs(), strict=True):
            if port.name not in cache.presents:
                found[port.name] = value.numpy()
            elif given:
                found[port.name] = buffers[cache.presents[port.name]].copy()
        return found

    return run


def _lengths(
    session: Session, cache: SharedCache, feeds: Feeds, ports: Mapping[str, Port]
) -> tuple[int, int, int]:
    """Batch, places filled after the step, and before it."""
    missing = [name for name in ports if name not in feeds]
    if 0 < len(missing) < len(ports):
        raise UsageError(
            f"input '{safe(missing[0])}' got no value, and other caches did",
            hint="give all caches, or none",
        )
    for name in (cache.mask, cache.tokens):
        if name not in feeds or feeds[name].ndim != 2:
            session.check({**_empty(ports, 1, 0), **feeds})
    (batch, new), total = feeds[cache.tokens].shape, feeds[cache.mask].shape[1]
    if total < new:
        raise UsageError(
            f"input '{safe(cache.mask)}' is {total} long, and {new} tokens come",
            hint="a mask is as long as the filled places and the new tokens together",
        )
    return batch, total, total - new


def _empty(ports: Mapping[str, Port], batch: int, places: int) -> Feeds:
    found: Feeds = {}
    for name, port in ports.items():
        heads, width = port.shape[1], port.shape[3]
        if not (isinstance(heads, int) and isinstance(width, int)):
            raise UsageError(
                f"the cache '{safe(name)}' has no fixed number of heads or width",
                hint="give the caches too, as inputs",
            )
        found[name] = np.zeros((batch, heads, places, width), port.dtype)
    return found


def _check_follows(buffer: np.ndarray | None, batch: int, before: int, filled: int) -> None:
    """Refuse a step on another cache than the one that is there."""
    if buffer is None or before != filled:
        raise UsageError(
            f"a step on {before} filled places follows one that left {filled}",
            hint="begin with a mask as long as the tokens, or give the caches too",
        )
    if batch != len(buffer):
        raise UsageError(f"a step of batch {batch} follows one of batch {len(buffer)}")


def _grown(buffers: Feeds, total: int, filled: int) -> Feeds:
    """Buffers of at least ``total`` places; memory that no step has filled is not touched."""
    found: Feeds = {}
    for name, array in buffers.items():
        if array.shape[2] < total:
            batch, heads, places, width = array.shape
            found[name] = np.zeros((batch, heads, max(total, 2 * places), width), array.dtype)
            found[name][:, :, :filled] = array[:, :, :filled]
        else:
            found[name] = array
    return found
