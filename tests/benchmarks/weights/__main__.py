"""Weights in few bits on a trained character GPT, beside ONNX Runtime's own quantizers.

    python -m tests.benchmarks.weights [FOLDER] [--json FILE]

The gap is how much the perplexity rises above float32; every row is measured on texts that nobody
trained or calibrated on.  A peer whose packages are missing is left out and named.
"""

import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from modelkit.quantize import quantize_file
from modelkit.runtime import metrics
from modelkit.runtime.bench import interleave, onnx_candidate, ratio
from tests.benchmarks.weights.char_gpt import Subject, perplexity, subject

_GOAL = 0.5  # of the best peer's gap


@dataclass(frozen=True)
class Row:
    """One way to quantize: ``gap`` in perplexity, ``speed`` against float32 with its interval.

    ``divergence`` is that of the predicted characters from those of float32, in thousandths of a
    nat: it cannot come out small by luck, as the gap can.
    """

    name: str
    bits: int
    block: int
    data: bool
    perplexity: float
    gap: float
    divergence: float
    decibels: float
    size: int
    speed: tuple[float, float, float]


def ours(mode: str, *, block: int = 32, asymmetric: bool | None = None, led: bool = False) -> Any:
    """``modelkit quantize`` with these options."""

    def make(found: Subject, target: Path) -> None:
        quantize_file(
            str(found.model),
            str(target),
            mode=mode,
            block_size=block,
            asymmetric=asymmetric,
            calib_data=str(found.calibration) if led else None,
            measure=False,
            force=True,
        )

    return make


def peer(kind: str, block: int = 32, bits: int = 4) -> Any:
    """ONNX Runtime's quantizer of that kind, symmetric, accuracy level 4."""

    def make(found: Subject, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader
        from onnxruntime.quantization import matmul_nbits_quantizer as nbits

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.texts: Iterator[Path] = iter(sorted(found.calibration.iterdir()))

            def get_next(self) -> dict[str, np.ndarray] | None:
                path = next(self.texts, None)
                return None if path is None else dict(np.load(path))

        configs: dict[str, Callable[[], Any]] = {
            "default": lambda: nbits.DefaultWeightOnlyQuantConfig(
                block_size=block, is_symmetric=True, accuracy_level=4, bits=bits
            ),
            "hqq": lambda: nbits.HQQWeightOnlyQuantConfig(block_size=block, bits=bits),
            "gptq": lambda: nbits.GPTQWeightOnlyQuantConfig(
                calibration_data_reader=Reader(), block_size=block, mse=True
            ),
        }
        quantizer = nbits.MatMulNBitsQuantizer(
            onnx.load(found.model), algo_config=configs[kind](), accuracy_level=4
        )
        quantizer.process()
        onnx.save(quantizer.model.model, target)

    return make


WAYS: tuple[tuple[str, int, int, bool, Any], ...] = (
    ("modelkit --int4", 4, 32, False, ours("int4")),
    ("modelkit --int4 --calib-data", 4, 32, True, ours("int4", led=True)),
    ("… --symmetric", 4, 32, True, ours("int4", led=True, asymmetric=False)),
    ("… --block-size 128", 4, 128, True, ours("int4", led=True, block=128)),
    ("ONNX Runtime RTN", 4, 32, False, peer("default")),
    ("ONNX Runtime HQQ", 4, 32, False, peer("hqq")),
    ("ONNX Runtime GPTQ", 4, 32, True, peer("gptq")),
    ("ONNX Runtime RTN", 4, 128, False, peer("default", 128)),
    ("ONNX Runtime GPTQ", 4, 128, True, peer("gptq", 128)),
    ("modelkit --int8-weights", 8, 32, False, ours("int8-weights")),
    ("ONNX Runtime RTN", 8, 32, False, peer("default", bits=8)),
)


def measured(found: Subject, folder: Path) -> tuple[float, list[Row], list[str]]:
    """The perplexity of float32, a row for each way, and who is missing why."""
    base, logits = perplexity(found.model, found.test)
    feeds = {"ids": np.load(found.test)["windows"][:1, :-1]}
    rows, missing = [], []
    for number, (name, bits, block, led, make) in enumerate(WAYS):
        target = folder / f"{number}.onnx"
        try:
            with redirect_stdout(StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                make(found, target)
        except Exception as error:  # the verdict is about any failure of foreign code
            if name.startswith(("modelkit", "…")):
                raise
            missing.append(f"{name} b{block}: {type(error).__name__}: {error}"[:200])
            continue
        value, other = perplexity(target, found.test)
        pair = [onnx_candidate(path, name=str(path)) for path in (found.model, target)]
        old, new = interleave(pair, feeds, seconds=2.0)
        race = ratio(old, new)
        noise = metrics.sqnr(*metrics.energies(logits, other))
        speed = (race.median, race.low, race.high)
        size = target.stat().st_size
        apart = divergence(logits, other)
        rows.append(Row(name, bits, block, led, value, value - base, apart, noise, size, speed))
        print(f"{name} b{block}: {value:.4f}", file=sys.stderr)
    return base, rows, missing


def divergence(reference: np.ndarray, other: np.ndarray) -> float:
    """Kullback and Leibler's, of the predictions, in thousandths of a nat a character."""
    right, wrong = (_logarithms(logits.astype(np.float64)) for logits in (reference, other))
    return float((np.exp(right) * (right - wrong)).sum(-1).mean() * 1e3)


def _logarithms(logits: np.ndarray) -> np.ndarray:
    centred = logits - logits.max(-1, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(-1, keepdims=True)))


def main(arguments: list[str]) -> None:
    """Measure and print; 1 where the goal is missed."""
    logging.disable(logging.WARNING)
    output = None
    if "--json" in arguments:
        at = arguments.index("--json")
        output = Path(arguments[at + 1])
        del arguments[at : at + 2]
    found = subject(Path(arguments[0] if arguments else "build/char_gpt"))
    with tempfile.TemporaryDirectory() as folder:
        base, rows, missing = measured(found, Path(folder))
    print(f"float32: perplexity {base:.4f}, {found.model.stat().st_size / 1e3:.0f} kB\n")
    print("| way | bits | block | data | perplexity | gap | mnat | dB | kB | speed, batch 1 |")
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        median, low, high = row.speed
        print(
            f"| {row.name} | {row.bits} | {row.block} | {'yes' if row.data else ''}"
            f" | {row.perplexity:.4f} | {row.gap:+.4f} | {row.divergence:.2f} | {row.decibels:.1f} | {row.size / 1e3:.0f}"
            f" | {median:.2f}x ({low:.2f}-{high:.2f}) |"
        )
    for text in missing:
        print(f"\nleft out: {text}")
    share = _share(rows)
    print(f"\nour best 4-bit gap at block 32 over the best peer's: {share:.2f} (goal {_GOAL})")
    apart = _share(rows, lambda row: row.divergence)
    print(f"the same of the divergence: {apart:.2f}")
    if output is not None:
        found_all = {
            "float32": base,
            "rows": [asdict(row) for row in rows],
            "share": share,
            "apart": apart,
        }
        output.write_text(json.dumps({**found_all, "missing": missing}, indent=1))
    if not share <= _GOAL:
        raise SystemExit(1)


def _share(rows: list[Row], of: Callable[[Row], float] = lambda row: row.gap) -> float:
    """The least of ours over the least of the peers', 4 bits in blocks of 32.

    A zero point a block is allowed to both: HQQ has one too.
    """
    plain = [row for row in rows if row.bits == 4 and row.block == 32]
    peers = [of(row) for row in plain if row.name.startswith("ONNX Runtime")]
    mine = [of(row) for row in plain if not row.name.startswith("ONNX Runtime")]
    return min(mine) / min(peers) if peers else float("nan")


if __name__ == "__main__":
    main(sys.argv[1:])
