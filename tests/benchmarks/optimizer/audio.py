"""Sound: what computes in convolutions of sequences."""

from typing import Any

import torch
import transformers
from torch import nn
from torch.nn import functional

from tests.benchmarks.optimizer.recipes import Call, Input, Recipe, perturbed

_MELS, _FRAMES, _SAMPLES = 80, 64, 16000


class _Block(nn.Module):  # type: ignore[misc]
    """A residual block of HiFi-GAN: three convolutions that reach ever further."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        near = kernel // 2
        self.far = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=near * step, dilation=step)
            for step in (1, 3, 5)
        )
        self.near = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=near) for _ in self.far)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for far, near in zip(self.far, self.near, strict=True):
            inner = far(functional.leaky_relu(x, 0.1))
            x = x + near(functional.leaky_relu(inner, 0.1))
        return x


class Vocoder(nn.Module):  # type: ignore[misc]
    """The smallest generator of HiFi-GAN: mel spectrogram to sound."""

    def __init__(self) -> None:
        super().__init__()
        width = 128
        self.start = nn.Conv1d(_MELS, width, 7, padding=3)
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate in (8, 8, 2, 2):
            up = nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, padding=rate // 2)
            width //= 2
            self.up.append(up)
            self.blocks.append(nn.ModuleList(_Block(width, kernel) for kernel in (3, 7, 11)))
        self.end = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        for up, blocks in zip(self.up, self.blocks, strict=True):
            x = up(functional.leaky_relu(x, 0.1))
            x = sum(block(x) for block in blocks) / 3
        return torch.tanh(self.end(functional.leaky_relu(x, 0.1)))


def _vocoder(full: bool) -> Any:
    return perturbed(Vocoder())


def _wav2vec2(full: bool) -> Any:
    """Wav2Vec2-base on one second of sound."""
    config = transformers.Wav2Vec2Config(
        num_hidden_layers=12 if full else 2, attn_implementation="eager"
    )
    model = transformers.Wav2Vec2Model(config)
    return Call(perturbed(model), lambda m, sound: m(sound).last_hidden_state)


class Pitch(nn.Module):  # type: ignore[misc]
    """CREPE (Kim et al., 2018): the pitch of 1024 samples, which stand in a column."""

    def __init__(self, share: int) -> None:
        super().__init__()
        into = [1, *(width // share for width in (1024, 128, 128, 128, 256))]
        self.layers = nn.ModuleList()
        for width, out in zip(into, (*into[1:], 512 // share), strict=True):
            tall, step, pads = (512, 4, (0, 0, 254, 254)) if width == 1 else (64, 1, (0, 0, 31, 32))
            self.layers.append(
                nn.Sequential(
                    nn.ZeroPad2d(pads),
                    nn.Conv2d(width, out, (tall, 1), (step, 1)),
                    nn.ReLU(),
                    nn.BatchNorm2d(out),
                    nn.MaxPool2d((2, 1), (2, 1)),
                )
            )
        self.end = nn.Linear(2048 // share, 360)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, None, :, None]
        for layer in self.layers:
            x = layer(x)
        return torch.sigmoid(self.end(x.permute(0, 2, 1, 3).flatten(1)))


def _pitch(full: bool) -> Any:
    return perturbed(Pitch(1 if full else 8))


RECIPES = (
    Recipe(
        "crepe",
        _pitch,
        (Input("sound", ("batch", 1024)),),
        ("pitches",),
        ({"batch": 1}, {"batch": 3}),
    ),
    Recipe(
        "vocoder",
        _vocoder,
        (Input("mel", ("batch", _MELS, "frames")),),
        ("sound",),
        ({"batch": 1, "frames": _FRAMES}, {"batch": 3, "frames": 5}),
    ),
    Recipe(
        "wav2vec2",
        _wav2vec2,
        (Input("sound", ("batch", _SAMPLES)),),
        ("hidden",),
        ({"batch": 1},),
    ),
)
