"""A torch module with its inputs as a source: in the type of weights asked for, by every way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from modelkit.convert.export_torch import reference, routes
from modelkit.convert.precision import Halved, Held, half_wanted, notes_on, with_remarks
from modelkit.convert.source import Options, Source
from modelkit.convert.translations import read_table
from modelkit.model import InputSpec

_NOTHING: Mapping[str, str] = {}


def source_of(
    title: str,
    module: torch.nn.Module,
    specs: tuple[InputSpec, ...],
    outputs: Sequence[str],
    samples: Sequence[torch.Tensor],
    options: Options,
    held: Held,
    *,
    judge: torch.nn.Module | None = None,
    files: tuple[Path, ...] = (),
    metadata: Mapping[str, str] = _NOTHING,
) -> Source:
    """The source of a float32 module that takes ``specs`` in order and gives ``outputs``.

    ``held`` are the weights as the file has them; ``judge`` is what the result is compared with,
    where it is not the module itself.

    Raises:
        UsageError: --translations that are no table or cannot be used.
    """
    half = half_wanted(options, held)
    table = read_table(options.translations)
    exported = Halved(module) if half else module
    ways = routes(exported, specs, outputs, samples, options.opset, table)
    return Source(
        title,
        reference(judge or module, specs, outputs),
        specs,
        with_remarks(ways, options, held),
        files,
        notes=notes_on(options, held),
        step="fp16" if half else "convert",
        metadata=metadata,
    )
