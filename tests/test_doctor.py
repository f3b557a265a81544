import subprocess
from pathlib import Path

import pytest

from modelkit import __version__, doctor
from modelkit.errors import ProviderMissing
from modelkit.reports import DoctorReport, ProviderFacts

BROKEN = "raise ImportError('libfoo.so: cannot open shared object file')"

# An ONNX Runtime whose CUDA provider kills the process, and that says why it has no TensorRT.
CRASHING = """
import ctypes, os
__version__ = "9.9"
def get_available_providers():
    return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "NewExecutionProvider"]
class SessionOptions: pass
class GraphOptimizationLevel: ORT_DISABLE_ALL = ORT_ENABLE_ALL = 0
class InferenceSession:
    def __init__(self, path, options, providers, provider_options=None):
        if providers[0].startswith("CUDA"):
            ctypes.string_at(0)
        if providers[0].startswith("Tensorrt"):
            os.write(2, b"x [ONNXRuntimeError] : 1 : FAIL : Failed to load library /a/b.so with "
                        b"error: libcublas.so.13: cannot open shared object file\\n")
    def get_providers(self): return ["CPUExecutionProvider"]
    def get_inputs(self): return []
    def get_outputs(self): return []
    def get_overridable_initializers(self): return []
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make the module ``onnxruntime`` of child processes be ``text``."""
    (folder / "onnxruntime.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a package of this name look installed."""
    place = folder / f"{name.replace('-', '_')}-1.2.3.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
    monkeypatch.syspath_prepend(str(folder))


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name in packages else real(name))


@pytest.fixture(scope="module")
def report() -> DoctorReport:
    return doctor.examine()


def test_versions_machine_and_limits_are_told(report: DoctorReport) -> None:
    assert report.versions["modelkit"] == __version__
    assert {"python", "onnx", "numpy", "onnxruntime"} <= set(report.versions)
    assert "missing" not in report.versions.values()
    assert int(report.machine["cores usable"]) >= 1
    assert report.machine["memory usable"].endswith(" GB")
    assert int(report.machine["newest opset"]) >= 21
    assert int(report.machine["newest IR version"]) >= 10


def test_the_cpu_was_really_opened(report: DoctorReport) -> None:
    assert ProviderFacts("cpu", True, "ran a model of one node") in report.providers
    assert not [problem for problem in report.problems if "'cpu'" in problem]


def test_extras_name_what_is_missing(report: DoctorReport, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(report.extras) == set(doctor._EXTRAS) >= {"text", "torch", "view"}
    monkeypatch.setattr(doctor, "_EXTRAS", {"a": ("json",), "b": ("json", "not_a_module")})
    assert doctor._extras() == {"a": "installed", "b": "missing not_a_module"}


def test_without_a_runtime_it_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *doctor._RUNTIMES)
    report = doctor.examine()
    assert report.providers == ()
    assert len(report.problems) == 1
    assert "modelkit[cpu]" in report.problems[0]
    assert "modelkit[gpu]" in report.problems[0]


def test_a_missing_library_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnx-ir", *doctor._RUNTIMES)
    report = doctor.examine()
    assert report.versions["onnx-ir"] == "missing"
    assert "onnx-ir is missing: pip install onnx-ir" in report.problems


def test_two_runtimes_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "onnxruntime-gpu")
    report = doctor.examine()
    assert report.versions["onnxruntime-gpu"] == "1.2.3"
    assert "pip uninstall onnxruntime onnxruntime-gpu" in report.problems[0]


def test_a_runtime_that_does_not_start_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, BROKEN)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = doctor.examine()
    assert report.providers == ()
    assert "does not start" in report.problems[0]
    assert "libfoo.so" in report.problems[0]
    assert "newest opset" not in report.machine


def test_a_provider_that_crashes_or_falls_back_is_contained_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, CRASHING)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tensorrt, cuda, new = doctor.examine().providers
    assert tensorrt.detail == "libcublas.so.13: cannot open shared object file"
    assert (cuda.name, cuda.opened) == ("cuda", False)
    assert "SIGSEGV" in cuda.detail
    assert (new.name, new.opened) == ("NewExecutionProvider", False)


def test_the_most_exact_reason_is_taken() -> None:
    error = ProviderMissing("cuda fell back", cause="it could not be loaded")
    assert doctor._reason(error) == "cuda fell back: it could not be loaded"
    error.add_note("noise\n[E] [ONNXRuntimeError] : 1 : FAIL : no such device\nmore")
    assert doctor._reason(error) == "no such device"


def test_a_card_that_the_runtime_cannot_use_is_a_problem() -> None:
    cpu = ["CPUExecutionProvider"]
    assert "modelkit[gpu]" in doctor._idle_card("NVIDIA H100, 580.1, 81559 MiB", cpu)[0]
    assert doctor._idle_card("NVIDIA H100", ["CUDAExecutionProvider", *cpu]) == []
    assert doctor._idle_card("none", cpu) == doctor._idle_card("nvidia-smi fails: x", cpu) == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'NVIDIA A10, 580.1, 23028 MiB'", "NVIDIA A10, 580.1, 23028 MiB"),
        ("echo 'no driver' >&2; exit 9", "nvidia-smi fails: no driver"),
    ],
)
def test_the_card_is_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(tool))
    assert doctor._card() == told


def test_a_hanging_nvidia_smi_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr("shutil.which", lambda name: "nvidia-smi")
    monkeypatch.setattr("subprocess.run", hang)
    assert doctor._card().startswith("nvidia-smi fails: ")
    assert "timed out" in doctor._card()


def test_the_processor_is_read_from_what_the_system_tells(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Xeon 9\nflags\t\t: sse avx2 amx_int8 fma\n")
    assert doctor._processor(told) == ("Xeon 9", "avx2 fma amx_int8")
    told.write_text("processor\t: 0\nFeatures\t: fp asimddp i8mm\n")
    assert doctor._processor(told)[1] == "asimddp i8mm"
    assert doctor._processor(tmp_path / "none")[1] == ""
