"""A small GPT over characters, trained here on texts that every Python carries.

    python -m tests.benchmarks.weights.char_gpt FOLDER

Writes ``char_gpt.onnx`` (ids [batch, 128] to logits), the folder ``calibration`` and ``test.npz``;
the three are made once.  One core takes about six minutes.
"""

import inspect
import pydoc_data.topics
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

CONTEXT = 128
WIDTH = 128
HEADS = 4
LAYERS = 3
STEPS = 1200
BATCH = 32
TEST_TEXTS = 256
CALIBRATION_TEXTS = 128


@dataclass(frozen=True)
class Subject:
    """A trained model and its data: texts of ids, and for the test the next ones too."""

    model: Path
    calibration: Path
    test: Path


def subject(folder: Path) -> Subject:
    """The trained model in ``folder``, made if it is not there."""
    found = Subject(folder / "char_gpt.onnx", folder / "calibration", folder / "test.npz")
    if not found.model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        train, test, size = texts()
        random = np.random.default_rng(1)
        found.calibration.mkdir(exist_ok=True)
        for number, row in enumerate(_windows(train, CALIBRATION_TEXTS, random)):
            np.savez(found.calibration / f"{number:03}.npz", ids=row[None, :-1])
        np.savez(found.test, windows=_windows(test, TEST_TEXTS, random))
        _write(_trained(train, size), found.model)
    return found


def texts() -> tuple[np.ndarray, np.ndarray, int]:
    """Ids of the characters to train on, those to test on, and how many kinds there are."""
    whole = "\n".join(pydoc_data.topics.topics.values())
    whole += "".join(inspect.getsource(module) for module in (inspect, ort.InferenceSession))
    known = sorted(set(whole))
    ids = np.array([known.index(letter) for letter in whole], np.int64)
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], len(known)


def perplexity(model: Path, test: Path) -> tuple[float, np.ndarray]:
    """Of the characters that follow, and the logits."""
    windows = np.load(test)["windows"]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    losses, kept = [], []
    for start in range(0, len(windows), 16):
        piece = windows[start : start + 16]
        (logits,) = session.run(None, {"ids": piece[:, :-1]})
        kept.append(logits)
        high = logits.max(-1, keepdims=True)
        total = np.log(np.exp(logits - high).sum(-1)) + high[..., 0]
        right = np.take_along_axis(logits, piece[:, 1:, None], -1)[..., 0]
        losses.append((total - right).mean())
    return float(np.exp(np.mean(losses))), np.concatenate(kept)


def _windows(ids: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    starts = random.integers(0, len(ids) - CONTEXT - 1, count)
    return np.stack([ids[start : start + CONTEXT + 1] for start in starts])


def _trained(ids: np.ndarray, size: int):  # type: ignore[no-untyped-def]
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = _network(size)
    rates = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(rates, 3e-3, total_steps=STEPS)
    random = np.random.default_rng(0)
    for step in range(STEPS):
        piece = torch.from_numpy(_windows(ids, BATCH, random))
        logits = model(piece[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, size), piece[:, 1:].reshape(-1))
        rates.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rates.step()
        plan.step()
        if step % 100 == 0:
            print(f"step {step}: perplexity {loss.exp():.2f}", file=sys.stderr)
    return model.eval()


def _network(size: int):  # type: ignore[no-untyped-def]
    import torch
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = self.mix(self.before(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(
                parts[0], parts[1], parts[2], is_causal=True
            )
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            return x + self.down(nn.functional.gelu(self.up(self.between(x))))

    class CharGpt(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.letters, self.places = nn.Embedding(size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, size, bias=False)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.letters(ids) + self.places.weight
            for block in self.blocks:
                x = block(x)
            return self.head(self.last(x))

    return CharGpt()


def _write(model, path: Path) -> None:  # type: ignore[no-untyped-def]
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros((2, CONTEXT), dtype=torch.int64),),
            str(path),
            dynamo=True,
            input_names=["ids"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
            external_data=False,
            verbose=False,
        )


if __name__ == "__main__":
    print(perplexity(subject(Path(sys.argv[1])).model, Path(sys.argv[1]) / "test.npz")[0])
