"""``doctor``: what this machine and installation can really do."""

import os
import platform
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path

from modelkit import __version__, worker
from modelkit.errors import ModelkitError
from modelkit.reports import DoctorReport, ProviderFacts
from modelkit.worker.limits import machine_memory

_LIBRARIES = ("onnx", "onnx-ir", "onnxscript", "numpy", "protobuf", "typer", "rich")
_RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-training",
)
_EXTRAS = {
    "text": ("tokenizers",),
    "torch": ("torch", "safetensors"),
    "hf": ("torch", "transformers", "tokenizers"),
    "tf": ("tensorflow", "tf2onnx"),
    "sklearn": ("sklearn", "skl2onnx"),
    "boost": ("onnxmltools", "lightgbm", "xgboost", "catboost"),
}
# Instructions that decide which kernels run; spelt as in /proc/cpuinfo.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp",
          "i8mm")  # fmt: skip
_SECONDS = 60.0


def examine() -> DoctorReport:
    """Look at versions, processor, memory, extras, and open a session on every provider."""
    problems: list[str] = []
    runtimes = {name: found for name in _RUNTIMES if (found := _version(name))}
    providers: list[ProviderFacts] = []
    machine = _machine()
    if not runtimes:
        problems.append(
            'no ONNX Runtime is installed: pip install "modelkit[cpu]", or [gpu] for NVIDIA cards'
        )
    else:
        providers = _providers(problems)
        machine |= _limits(problems)
    if len(runtimes) > 1:
        problems.append(
            f"{' and '.join(runtimes)} are both installed and overwrite each other's files:"
            " uninstall both, then install one"
        )
    versions = {"modelkit": __version__, "python": platform.python_version()}
    versions |= {name: _version(name) or "missing" for name in _LIBRARIES} | runtimes
    return DoctorReport(versions, machine, tuple(providers), _extras(), tuple(problems))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _extras() -> dict[str, str]:
    found = {}
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if util.find_spec(name) is None]
        found[extra] = f"missing {', '.join(missing)}" if missing else "installed"
    return found


def _machine() -> dict[str, str]:
    name, flags = platform.processor() or platform.machine(), ""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        fields: dict[str, str] = {}
        for line in information.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        name = fields.get("model name", name)
        held = set((fields.get("flags") or fields.get("Features") or "").split())
        flags = " ".join(flag for flag in _FLAGS if flag in held)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": name,
        "cores usable": str(usable),
        "memory usable": f"{machine_memory() / 1e9:.1f} GB",
        "NVIDIA driver": _driver(),
    }
    if flags:
        facts["instructions"] = flags
    return facts


def _driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none"
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi fails: {error}"
    return done.stdout.strip().replace("\n", "; ")


def _providers(problems: list[str]) -> list[ProviderFacts]:
    from modelkit.runtime.providers import PROVIDERS
    from modelkit.runtime.session import available

    short = {provider.ort: provider.name for provider in PROVIDERS}
    found = []
    for listed in available():
        name = short.get(listed)
        if name is None:
            found.append(ProviderFacts(listed, False, "modelkit has no short name for it"))
            continue
        try:
            # A provider that crashes takes its own process with it.
            worker.run(
                "doctor",
                {"provider": name},
                function="modelkit.runtime.probe:open_on",
                timeout=_SECONDS,
            )
        except ModelkitError as error:
            found.append(ProviderFacts(name, False, error.cause or error.message))
            if name != "azure":
                problems.append(f"provider '{name}' is listed but does not open: {error.message}")
            continue
        found.append(ProviderFacts(name, True, "a model of one node ran on it"))
    return found


def _limits(problems: list[str]) -> dict[str, str]:
    try:
        fields = worker.run(
            "doctor", {}, function="modelkit.runtime.probe:limits", timeout=_SECONDS
        )
    except ModelkitError as error:
        problems.append(f"ONNX Runtime does not open the simplest model: {error.message}")
        return {}
    opset, ir_version = fields["notes"]
    return {"newest opset": opset, "newest IR version": ir_version}
