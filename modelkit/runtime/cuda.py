"""Whether the CUDA pieces of this machine fit the installed ONNX Runtime.

A CUDA build opens only with the CUDA and cuDNN major versions it was built for, and on a driver
that is new enough for them (docs.nvidia.com/deploy/cuda-compatibility).
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from modelkit.safe import safe

_SECONDS = 10
# Packages of NVIDIA's libraries: the suffix is the CUDA major version they are for.
_PACKAGE = re.compile(r"nvidia-(cuda-runtime|cublas|cufft|curand|cudnn|cuda-nvrtc)(?:-cu(\d+))?")
_DRIVER = re.compile(r"CUDA Version:\s*(\d+)\.(\d+)")


@dataclass(frozen=True)
class Build:
    """What ONNX Runtime was built with; "" where it does not tell."""

    cuda: str = ""
    cudnn: str = ""


def packages() -> dict[str, str]:
    """Installed packages of CUDA libraries, name to version."""
    found = {}
    for each in metadata.distributions():
        name = each.metadata["Name"] or ""
        if _PACKAGE.fullmatch(name):
            found[name] = each.version
    return dict(sorted(found.items()))


def driver_limit() -> str:
    """The newest CUDA the driver runs, as nvidia-smi tells; "" without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        done = subprocess.run([tool], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = _DRIVER.search(done.stdout)
    return f"{found[1]}.{found[2]}" if found else ""


def mismatches(build: Build, held: Mapping[str, str], driver: str) -> Iterator[str]:
    """What does not fit, each with what to do."""
    if not build.cuda:
        return
    major = build.cuda.split(".")[0]
    for name, version in held.items():
        parts = _PACKAGE.fullmatch(name)
        made_for = (parts[2] if parts else None) or (
            version.split(".")[0] if name == "nvidia-cuda-runtime" else major
        )
        if made_for != major:
            yield (
                f"{safe(name)} {safe(version)} is for CUDA {made_for}, and ONNX Runtime was built"
                f" for {build.cuda}: pip install nvidia-cuda-runtime-cu{major}"
                f" nvidia-cublas-cu{major} nvidia-cudnn-cu{major}"
            )
        wanted = build.cudnn.split(".")[0]
        if parts and parts[1] == "cudnn" and wanted and version.split(".")[0] != wanted:
            yield (
                f"{safe(name)} {safe(version)} is not the cuDNN {wanted} that ONNX Runtime was"
                f' built for: pip install "{name}=={wanted}.*"'
            )
    if driver and _numbers(driver) < _numbers(major):
        yield (
            f"the NVIDIA driver runs CUDA up to {driver}, and ONNX Runtime needs {build.cuda}:"
            " install a newer driver"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
