"""What a model of the zoo is: how to build it, what goes in, and at which sizes it is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from modelkit.runtime.pictures import draw

BOTH = ("dynamo", "torchscript")
VOCABULARY = 8000
"""Rows of embeddings where depth is shrunk: they are looked up, never multiplied."""


@dataclass(frozen=True)
class Input:
    """An input; strings in ``shape`` are dynamic axes.

    ``high`` 0: normal float32; else int64 below it.  ``mask``: int64 ones, with zeros at the end of
    every second row, or at the front with ``mask="front"`` (as generation pads).  ``drawn``:
    pictures, in which a trained model sees something.
    """

    name: str
    shape: tuple[int | str, ...]
    high: int = 0
    mask: str = ""
    drawn: bool = False


@dataclass(frozen=True)
class Recipe:
    """A model of the zoo.

    Attributes:
        name: in tables and options.
        build: the module, at real depth if its argument is True; None: made in another environment, or
            by others.
        inputs, outputs: in the order of the module's arguments and results.
        sizes: values of the dynamic axes, one a test input; the first is exported and timed.
        exporters: those that shall write it.
    """

    name: str
    build: Callable[[bool], Any] | None
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    sizes: tuple[Mapping[str, int], ...]
    exporters: tuple[str, ...] = BOTH


class Call(torch.nn.Module):  # type: ignore[misc]
    """A module with plain tensors in and out: ``call(module, *tensors)``."""

    def __init__(self, module: torch.nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self.call = call

    def forward(self, *values: torch.Tensor) -> Any:
        """What ``call`` gives."""
        return self.call(self.module, *values)


def perturbed(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Move biases, gains and running statistics away from 0 and 1, in place; evaluation mode.

    A fresh model has zero biases and unit gains: exporters share them, slimmers delete them, and
    both node counts and latency would flatter whoever does.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.dim() > 1 or not value.is_floating_point() or value.numel() < 2:
                continue
            noise = torch.rand(value.shape, generator=random)
            if "inv_freq" in name:
                continue
            if "running_var" in name:
                value.mul_(0.5 + noise)
            else:
                value.add_(0.1 * noise - 0.05)
    return module.eval()


def feeds_of(recipe: Recipe, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs for ``recipe`` at ``sizes``."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for port in recipe.inputs:
        shape = tuple(axis if isinstance(axis, int) else sizes[axis] for axis in port.shape)
        if port.mask:
            found[port.name] = _mask(shape, front=port.mask == "front")
        elif port.drawn:
            found[port.name] = draw(shape, random)
        elif port.high:
            found[port.name] = random.integers(0, port.high, shape, dtype=np.int64)
        else:
            found[port.name] = random.standard_normal(shape).astype(np.float32)
    return found


def _mask(shape: tuple[int, ...], *, front: bool) -> np.ndarray:
    mask = np.ones(shape, np.int64)
    padding = shape[1] // 4
    if padding:
        mask[1::2, :padding] = 0
    return mask if front else np.ascontiguousarray(mask[:, ::-1])
