"""``doctor``: what this machine and installation can really do."""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path
from typing import Any

from modelkit import __version__, progress, worker
from modelkit.errors import ModelkitError
from modelkit.reports import DoctorReport, ProviderFacts
from modelkit.safe import safe
from modelkit.worker.memory import control_group_limit, machine_memory

_LIBRARIES = ("onnx", "onnx-ir", "onnxscript", "numpy", "protobuf", "typer", "rich")
_RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-training",
)
# The modules each extra brings; the frameworks themselves and what converts them.
_EXTRAS = {
    "text": ("tokenizers",),
    "image": ("PIL",),
    "parquet": ("pyarrow",),
    "view": ("netron",),
    "torch": ("torch", "safetensors"),
    "hf": ("torch", "safetensors", "transformers", "tokenizers"),
    "tf": ("tensorflow", "tf2onnx", "tf_keras"),
    "sklearn": ("sklearn", "skl2onnx", "skops"),
    "boost": ("onnxmltools", "skl2onnx", "lightgbm", "xgboost", "catboost"),
}
# Instructions that decide which kernels run; spelt as in /proc/cpuinfo.
_INSTRUCTIONS = (
    "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "amx_int8", "amx_bf16", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
_SECONDS = 60.0


def examine() -> DoctorReport:
    """Look at versions, processor, memory, extras, and open a session on every provider.

    Nothing that is missing or broken raises: it is in ``problems``, with what to do about it.
    """
    progress.step("looking at the machine")
    runtimes = {name: found for name in _RUNTIMES if (found := _version(name))}
    versions = {"modelkit": __version__, "python": platform.python_version()}
    versions |= {name: _version(name) or "missing" for name in _LIBRARIES} | runtimes
    machine = _machine()
    problems = _installed_wrongly(versions, runtimes)
    providers: list[ProviderFacts] = []
    if runtimes:
        build = _build(problems)
        if build:
            machine["newest opset"] = str(build["opset"])
            machine["newest IR version"] = str(build["ir_version"])
            providers = _providers(build["providers"], problems)
            problems += _idle_card(machine["NVIDIA card"], build["providers"])
            machine |= _cuda(build, problems)
    return DoctorReport(versions, machine, tuple(providers), _extras(), tuple(problems))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _installed_wrongly(versions: dict[str, str], runtimes: dict[str, str]) -> list[str]:
    missing = [name for name, version in versions.items() if version == "missing"]
    problems = [f"{name} is missing: pip install {name}" for name in missing]
    if not runtimes:
        problems.append(
            'no ONNX Runtime is installed: pip install "modelkit[cpu]",'
            ' or "modelkit[gpu]" for NVIDIA cards'
        )
    if len(runtimes) > 1:
        names = " and ".join(runtimes)
        problems.append(
            f"{names} are installed together and overwrite each other's files:"
            f" pip uninstall {' '.join(runtimes)}, then install one again"
        )
    return problems


def _extras() -> dict[str, str]:
    found = {}
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if util.find_spec(name) is None]
        found[extra] = f"missing {', '.join(missing)}" if missing else "installed"
    return found


def _machine() -> dict[str, str]:
    name, instructions = _processor()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": name,
        "cores usable": str(usable),
        "memory usable": _gigabytes(machine_memory()),
        "memory limit of the container": _gigabytes(control_group_limit()),
        "instructions": instructions,
        "NVIDIA card": _card(),
    }
    return {title: text for title, text in facts.items() if text}


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count else ""


def _processor(information: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """Its name, and those of its instructions that matter here, as far as the system tells."""
    fields: dict[str, str] = {}
    if information.is_file():
        for line in information.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    held = (fields.get("flags") or fields.get("Features") or "").split()
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, " ".join(each for each in _INSTRUCTIONS if each in held)


def _card() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "none"
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi fails: {safe(str(error))}"
    told = " ".join((done.stdout or done.stderr).split())
    return safe(told if done.returncode == 0 else f"nvidia-smi fails: {told}")


def _build(problems: list[str]) -> dict[str, Any]:
    """What ``probe.build`` reports; empty, and a problem, when the runtime does not start."""
    progress.step("starting ONNX Runtime")
    try:
        return worker.run("doctor", {}, function="modelkit.runtime.probe:build", timeout=_SECONDS)
    except ModelkitError as error:
        problems.append(
            f"ONNX Runtime is installed but does not start ({_reason(error)}):"
            " uninstall every onnxruntime package, then install one again"
        )
        return {}


def _providers(listed: list[str], problems: list[str]) -> list[ProviderFacts]:
    from modelkit.runtime.providers import PROVIDERS

    short = {provider.ort: provider.name for provider in PROVIDERS}
    found = []
    for name in listed:
        if name not in short:
            found.append(ProviderFacts(name, False, "not tried: modelkit has no name for it"))
            continue
        facts = _opened(short[name])
        found.append(facts)
        if not facts.opened:
            problems.append(f"provider '{facts.name}' is listed but does not open: {facts.detail}")
    return found


def _opened(name: str) -> ProviderFacts:
    progress.step(f"opening a session on {name}")
    try:
        told = worker.run(
            "doctor",
            {"provider": name},
            function="modelkit.runtime.probe:open_on",
            timeout=_SECONDS,
        )
    except ModelkitError as error:
        return ProviderFacts(name, False, _reason(error))
    return ProviderFacts(name, told["opened"], told["detail"])


def _cuda(build: dict[str, Any], problems: list[str]) -> dict[str, str]:
    """What a CUDA build needs and what is here; nothing to say of other builds."""
    from modelkit.runtime import cuda

    if not build["cuda"]:
        return {}
    held, driver = cuda.packages(), cuda.driver_limit()
    problems += cuda.mismatches(cuda.Build(build["cuda"], build["cudnn"]), held, driver)
    return {
        "CUDA the runtime was built for": " ".join(filter(None, (build["cuda"], build["cudnn"]))),
        "CUDA the driver runs": driver or "no driver",
        "CUDA packages": ", ".join(f"{name} {version}" for name, version in held.items()) or "none",
    }


def _idle_card(card: str, listed: list[str]) -> list[str]:
    """An NVIDIA card that this build of ONNX Runtime cannot use."""
    if card == "none" or "fails" in card or "CUDAExecutionProvider" in listed:
        return []
    return [
        "there is an NVIDIA card, but the installed ONNX Runtime cannot use it:"
        ' pip uninstall onnxruntime, then pip install "modelkit[gpu]"'
    ]


def _reason(error: ModelkitError) -> str:
    """The most exact words about why: a library's own error line, else the error's."""
    printed = "\n".join(getattr(error, "__notes__", ()))
    told = re.search(r"\[ONNXRuntimeError\] : \d+ : \w+ : (.*)", printed)
    if told is None:
        return f"{error.message}: {error.cause}" if error.cause else error.message
    return told[1].rpartition(" with error: ")[2]
