"""Runs whose inputs and outputs stay where the provider works.

A cache that a model updates in place (``model.SharedCache``) is bound once, as input and output.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from modelkit.errors import UsageError
from modelkit.model import SharedCache, read_cache
from modelkit.runtime.providers import Provider
from modelkit.runtime.session import Feeds, Run, Session
from modelkit.safe import safe

_LARGEST = 127

# Providers whose memory is not the CPU's, as ONNX Runtime calls the device.
_DEVICES = {"cuda": "cuda", "tensorrt": "cuda", "nvtensorrtrtx": "cuda", "directml": "dml"}


def bound(session: Session, provider: Provider) -> Run:
    """A run that binds its inputs when they are new, leaves the outputs and gives none back."""
    device = _DEVICES.get(provider.name, "cpu")
    binding = session.raw.io_binding()
    held: dict[str, ort.OrtValue] = {}
    cache = shared_cache(session)
    last: Feeds | None = None

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        nonlocal last
        if feeds is not last:
            ready = feeds if cache is None else roomy(feeds, cache)
            session.check(ready)
            bind(session, binding, device, ready, held, cache)
            last = feeds
        session.run_bound(binding)
        binding.synchronize_outputs()
        return {}

    return run


def shared_cache(session: Session) -> SharedCache | None:
    """The cache that the model in ``session`` updates in place, if it says so and has its ends."""
    found = read_cache(session.raw.get_modelmeta().custom_metadata_map)
    if found is None:
        return None
    inputs = {port.name for port in session.inputs}
    outputs = {port.name for port in session.outputs}
    wanted = {found.mask, found.tokens, *found.presents.values()}
    return found if wanted <= inputs and set(found.presents) <= outputs else None


def roomy(feeds: Feeds, cache: SharedCache) -> Feeds:
    """``feeds`` whose buffers have places for the tokens that come, in the type they are kept in.

    What fits is as it was.
    """
    total = feeds[cache.mask].shape[1]
    found = dict(feeds)
    for name in cache.presents.values():
        array = feeds[name]
        if name in cache.scales and array.dtype == np.float32:
            array = found[name] = to_int8(array, cache.scales[name])
        if array.shape[2] < total:
            places = [
                (0, total - length if axis == 2 else 0) for axis, length in enumerate(array.shape)
            ]
            found[name] = np.pad(array, places)
    return found


def to_int8(array: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """A cache [batch, heads, places, width] in int8, one scale a channel of each head."""
    found = np.rint(array / _spread(array, scales))
    return np.asarray(np.clip(found, -_LARGEST - 1, _LARGEST), np.int8)


def to_float(array: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """What :func:`to_int8` made, in float32 again."""
    return np.asarray(array.astype(np.float32) * _spread(array, scales))


def _spread(array: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    return np.asarray(scales, np.float32).reshape(1, array.shape[1], 1, array.shape[3])


def bind(
    session: Session,
    binding: "ort.IOBinding",
    device: str,
    feeds: Feeds,
    held: "dict[str, ort.OrtValue]",
    cache: SharedCache | None,
) -> None:
    """Bind ``feeds`` on ``device``, and each present of ``cache`` to the memory of its past.

    ``held`` keeps what is bound alive.  On the CPU arrays that are contiguous are not copied.

    Raises:
        UsageError: an input of text.
    """
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    held.clear()
    for name, array in feeds.items():
        if array.dtype.kind in "OUS":
            raise UsageError(
                f"input '{safe(name)}' is text, which ONNX Runtime cannot bind",
                hint="leave --io-binding out",
            )
        value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)
        held[name] = value  # the binding does not keep it alive
        binding.bind_ortvalue_input(name, value)
    for port in session.outputs:
        if cache is not None and port.name in cache.presents:
            binding.bind_ortvalue_output(port.name, held[cache.presents[port.name]])
        else:
            binding.bind_output(port.name, device)
