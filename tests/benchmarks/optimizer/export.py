"""Export one model of the zoo: ``python -m tests.benchmarks.optimizer.export NAME EXPORTER FOLDER``.

In a process of its own, because exporters keep gigabytes and now and then abort.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.optimizer.recipes import Recipe, feeds_of

DYNAMO_OPSET = 18
TORCHSCRIPT_OPSET = 17


def write_feeds(recipe: Recipe, folder: Path) -> None:
    """Write feeds.0.npz, ... into ``folder``, one for each of the recipe's sizes."""
    for number, sizes in enumerate(recipe.sizes):
        values: dict[str, Any] = feeds_of(recipe, sizes, seed=number)
        np.savez(folder / f"feeds.{number}.npz", **values)


def write_model(recipe: Recipe, exporter: str, path: Path, *, full: bool) -> None:
    """Build and export to ``path``, axes as the recipe's inputs name them."""
    torch.manual_seed(0)
    if recipe.build is None:
        raise ValueError(f"{recipe.name} is made in an environment of its own")
    module = recipe.build(full).eval()
    # Two rows, so that none of the axes is taken for a fixed 1.
    sizes = {axis: max(size, 2) for axis, size in recipe.sizes[0].items()}
    if "total" in sizes:
        sizes["total"] = sizes["past"] + sizes["tokens"]
    samples = {name: torch.from_numpy(x) for name, x in feeds_of(recipe, sizes).items()}
    axes = [
        {number: axis for number, axis in enumerate(port.shape) if isinstance(axis, str)}
        for port in recipe.inputs
    ]
    names = [port.name for port in recipe.inputs]
    options: dict[str, Any] = {"input_names": names, "output_names": list(recipe.outputs)}
    if exporter == "dynamo":
        shapes = tuple(axes)
        variadic = any("values" in key for key in module.forward.__code__.co_varnames)
        options["dynamic_shapes"] = (shapes,) if variadic else shapes
        options["opset_version"] = DYNAMO_OPSET
    else:
        options["dynamic_axes"] = dict(zip(names, axes, strict=True))
        options["opset_version"] = TORCHSCRIPT_OPSET
    with torch.no_grad():
        torch.onnx.export(
            module,
            tuple(samples.values()),
            str(path),
            dynamo=exporter == "dynamo",
            external_data=False,
            **options,
        )


def main() -> None:
    """Export what the command line names."""
    from tests.benchmarks.optimizer.zoo import recipes_of

    name, exporter, folder, *rest = sys.argv[1:]
    full = "--full" in rest
    recipe = next(found for found in recipes_of(full) if found.name == name)
    warnings.simplefilter("ignore")
    write_feeds(recipe, Path(folder))
    write_model(recipe, exporter, Path(folder) / "model.onnx", full=full)


if __name__ == "__main__":
    main()
