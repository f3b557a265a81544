"""Who takes part, and the command by which each optimizes a model file."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.optimizer.environments import PeerMissing, python_of
from tests.benchmarks.optimizer.process import Cost, measured

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = "ort-online"
"""Every latency is compared with this one: ONNX Runtime given the original."""

_PEER = Path(__file__).with_name("peer.py")
_KINDS = {  # of onnxruntime.transformers, where its default "bert" is not the best choice
    "clip_text": "clip",
    "clip_vision": "clip",
    "gpt2": "gpt2",
    "swin": "swin",
    "t5_encoder": "t5",
    "vit": "vit",
    "whisper_encoder": "bart",
}


@dataclass(frozen=True)
class Contender:
    """An optimizer: a level of modelkit, or a peer in the environment of that name ("": ours)."""

    name: str
    environment: str = ""
    level: str = ""


CONTENDERS = (
    Contender(REFERENCE),
    Contender("modelkit-basic", level="basic"),
    Contender("modelkit-all", level="all"),
    Contender("onnxslim", "onnxslim"),
    Contender("onnxsim", "onnxsim"),
    Contender("onnxoptimizer", "onnxoptimizer"),
    Contender("onnxscript", "onnxscript"),
    Contender("ort-transformers", "ort-transformers"),
)
SLIMMERS = ("onnxslim", "onnxsim", "onnxoptimizer")


def optimize(
    contender: Contender,
    model: str,
    source: Path,
    target: Path,
    build: Path,
    *,
    seconds: float,
    threads: int = 1,
) -> Cost:
    """Let ``contender`` write ``target`` from ``source``, to be run on so many ``threads``.

    Its failure is in what is returned.
    """
    target.unlink(missing_ok=True)
    try:
        command = _command(contender, model, source.resolve(), target.resolve(), build, threads)
    except PeerMissing as missing:
        return Cost(0, 0, str(missing))
    cost = measured(
        command, seconds=seconds, folder=ROOT, environment={"PYTHONPATH": _path(contender)}
    )
    if not cost.failure and not target.is_file():
        return Cost(cost.cpu_seconds, cost.peak_mb, "ended well, but wrote nothing")
    return cost


def _path(contender: Contender) -> str:
    # A peer must not find our packages, nor modelkit those of an installed one.
    return "" if contender.environment else str(ROOT)


def _command(
    contender: Contender, model: str, source: Path, target: Path, build: Path, threads: int
) -> list[str]:
    if contender.level:
        options = ["--level", contender.level, "--no-verify", "--no-measure", "--force", "--quiet"]
        command = [sys.executable, "-m", "modelkit", "optimize", str(source), *options]
        return [*command, "--intra-op", str(threads), "-o", str(target)]
    python = Path(sys.executable)
    if contender.environment:
        python = python_of(contender.environment, build / "environments").absolute()
    kind = _KINDS.get(model, "")
    return [str(python), str(_PEER), contender.name, str(source), str(target), kind]
