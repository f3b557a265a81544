"""Execution providers as data."""

import difflib
from typing import NamedTuple

from modelkit.errors import UsageError
from modelkit.safe import safe


class Provider(NamedTuple):
    """One place a model can run: our short name, and ONNX Runtime's."""

    name: str
    ort: str


CPU = Provider("cpu", "CPUExecutionProvider")

PROVIDERS = (
    CPU,
    Provider("cuda", "CUDAExecutionProvider"),
    Provider("tensorrt", "TensorrtExecutionProvider"),
    Provider("nvtensorrtrtx", "NvTensorRTRTXExecutionProvider"),
    Provider("openvino", "OpenVINOExecutionProvider"),
    Provider("directml", "DmlExecutionProvider"),
    Provider("coreml", "CoreMLExecutionProvider"),
    Provider("rocm", "ROCMExecutionProvider"),
    Provider("migraphx", "MIGraphXExecutionProvider"),
    Provider("qnn", "QNNExecutionProvider"),
    Provider("dnnl", "DnnlExecutionProvider"),
    Provider("xnnpack", "XnnpackExecutionProvider"),
    Provider("webgpu", "WebGpuExecutionProvider"),
    Provider("azure", "AzureExecutionProvider"),
)

# Providers that ONNX Runtime removed, and what took their place.
SUCCESSORS = {
    "ngraph": "openvino",
    "mklml": "dnnl",
    "mkl-ml": "dnnl",
    "mkldnn": "dnnl",
    "nuphar": "cpu",
    "stvm": "cpu",
    "tvm": "cpu",
    "winml": "directml",
    "rknpu": "cpu",
}
_SUFFIX = "executionprovider"

_BY_NAME = {provider.name: provider for provider in PROVIDERS}
_BY_ORT = {provider.ort.lower(): provider for provider in PROVIDERS}


def parse(text: str) -> tuple[tuple[Provider, ...], ...]:
    """``"cpu,tensorrt+cuda"`` as rows of priority lists; the CPU is implicit at the end of each.

    Raises:
        UsageError: an unknown or removed provider, with the nearest name or the successor.
    """
    rows = []
    for row in text.split(","):
        names = [name.strip() for name in row.split("+")]
        rows.append(tuple(dict.fromkeys(_one(name) for name in names)))
    return tuple(rows)


def label(row: tuple[Provider, ...]) -> str:
    """A priority list as the user writes it."""
    return "+".join(provider.name for provider in row)


def _one(name: str) -> Provider:
    found = _BY_NAME.get(name.lower()) or _BY_ORT.get(name.lower())
    if found is not None:
        return found
    short = name.lower().removesuffix(_SUFFIX)
    if short in SUCCESSORS:
        raise UsageError(
            f"ONNX Runtime no longer has the provider '{short}'",
            hint=f"use --providers {SUCCESSORS[short]}",
        )
    if short and short != name.lower() and short.isalnum():
        return Provider(short, name)  # one that only this build has; ONNX Runtime spells it so
    near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_BY_NAME)}"
    raise UsageError(f"unknown provider '{safe(name)}'", hint=hint)
