"""Print what starting up, the worker and a rewrite cost on this machine."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelkit.model import load
from modelkit.optimize import optimize
from tests.models import linear_text, model_file

_RUNS = 10
_HELP_GOAL = 0.10


def cpu_seconds(*arguments: str) -> list[float]:
    """CPU time, user and system, of whole processes."""
    found = []
    for _ in range(_RUNS):
        before = os.times()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = os.times()
        found.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    return found


def chain(folder: Path, blocks: int) -> Path:
    """A deep model: ``blocks`` linear layers with an erf Gelu behind each."""
    body = []
    for block in range(blocks):
        x = "x" if block == 0 else f"y{block - 1}"
        body.append(
            f"m{block} = MatMul({x}, w) a{block} = Add(m{block}, b) d{block} = Div(a{block}, r)"
            f" e{block} = Erf(d{block}) p{block} = Add(e{block}, o) h{block} = Mul(f, p{block})"
            f" y{block} = Mul(a{block}, h{block})"
        )
    text = f"""<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x) => (float[n, 8] y{blocks - 1})
    <float[8, 8] w, float[8] b, float r = {{1.4142135}}, float o = {{1.0}}, float f = {{0.5}}>
    {{ {" ".join(body)} }}"""
    return model_file(folder / f"chain_{blocks}.onnx", text)


def main() -> None:
    """Measure and print."""
    times = cpu_seconds("-m", "modelkit", "--help")
    print(
        f"modelkit --help: {statistics.median(times):.3f} CPU s"
        f" (least {min(times):.3f}; goal {_HELP_GOAL:.2f})"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = model_file(folder / "small.onnx", linear_text(64, 64))
        times = cpu_seconds(
            "-m", "modelkit", "optimize", str(path), "--no-verify", "--no-measure", "--force", "-q"
        )
        print(f"optimize of a small model, whole process: {statistics.median(times):.2f} CPU s")
        for blocks in (150, 1500):
            model = load(chain(folder, blocks))
            start = time.process_time()
            done = optimize(model)
            seconds = time.process_time() - start
            print(
                f"optimize --level all of {7 * blocks} nodes: {seconds:.2f} CPU s,"
                f" {len(done.model.graph)} nodes left"
            )


if __name__ == "__main__":
    main()
