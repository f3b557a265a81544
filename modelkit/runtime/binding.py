"""Runs whose inputs and outputs stay where the provider works."""

import numpy as np
import onnxruntime as ort

from modelkit.errors import UsageError
from modelkit.runtime.providers import Provider
from modelkit.runtime.session import Feeds, Run, Session
from modelkit.safe import safe

# Providers whose memory is not the CPU's, as ONNX Runtime calls the device.
_DEVICES = {"cuda": "cuda", "tensorrt": "cuda", "nvtensorrtrtx": "cuda", "directml": "dml"}


def bound(session: Session, provider: Provider) -> Run:
    """A run that binds its inputs when they are new, leaves the outputs and gives none back."""
    raw = session.raw
    device = _DEVICES.get(provider.name, "cpu")
    binding = raw.io_binding()
    held: list[object] = []
    last: Feeds | None = None

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        nonlocal last
        if feeds is not last:
            session.check(feeds)
            _bind(session, binding, device, feeds, held)
            last = feeds
        raw.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return {}

    return run


def _bind(
    session: Session, binding: "ort.IOBinding", device: str, feeds: Feeds, held: list[object]
) -> None:
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
        held.append(value)  # the binding does not keep it alive
        binding.bind_ortvalue_input(name, value)
    for port in session.outputs:
        binding.bind_output(port.name, device)
