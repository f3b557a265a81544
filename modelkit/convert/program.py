"""Exported programs (.pt2): the one torch format that knows its own inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from modelkit.convert import torch_files
from modelkit.convert.export_torch import evaluate, exported, reference
from modelkit.convert.input_shapes import role
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.translations import read_table
from modelkit.errors import Unsupported
from modelkit.model import InputSpec
from modelkit.safe import safe


def open_program(path: Path, options: Options) -> Source:
    """Load a trusted program; names, shapes and dynamic axes of its inputs are in it.

    Raises:
        BadInput: not trusted, or broken.
        Unsupported: its inputs are not plain tensors.
    """
    program = torch_files.read_program(path, trust=options.trust_source)
    samples = _samples(program, path)
    specs = _specs(program, samples)
    module = program.module()
    names = list(evaluate(module, samples))
    table = read_table(options.translations)
    return Source(
        "torch.export program",
        reference(module, specs, names),
        specs,
        (Route("exported program", lambda: exported(program, specs, names, options.opset, table)),),
    )


def _samples(program: Any, path: Path) -> list[torch.Tensor]:
    arguments, keywords = program.example_inputs or ((), {})
    values = [*arguments, *keywords.values()]
    if keywords or not values or not all(isinstance(value, torch.Tensor) for value in values):
        raise Unsupported(
            f"the inputs of {safe(str(path))} are not plain tensors in order",
            hint="export a module whose forward takes tensors only",
        )
    return values


def _specs(program: Any, samples: Sequence[torch.Tensor]) -> tuple[InputSpec, ...]:
    """The inputs as the program's signature has them; a symbol is a dynamic axis."""
    held = {
        node.name: node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
    }
    names = [name for name in program.graph_signature.user_inputs if name in held]
    batch = next(
        (str(held[n].shape[0]) for n in names if held[n].ndim and not _fixed(held[n].shape[0])), ""
    )
    found = []
    for name, sample in zip(names, samples, strict=True):
        dtype = str(sample.dtype).removeprefix("torch.")
        shape = tuple(
            int(dim) if _fixed(dim) else ("batch" if str(dim) == batch else safe(str(dim), 40))
            for dim in held[name].shape
        )
        found.append(InputSpec(name, dtype, shape, role(name, dtype, len(shape))))
    return tuple(found)


def _fixed(dim: Any) -> bool:
    return isinstance(dim, int)
