"""The zoo on disk: every model by every exporter, exported once and kept."""

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.optimizer import (
    activations,
    audio,
    branches,
    decoders,
    dense,
    export,
    gated,
    matrices,
    modules,
    published,
    recipes,
    text,
    vision,
)
from tests.benchmarks.optimizer.environments import PEERS, PeerMissing, python_of
from tests.benchmarks.optimizer.process import last_error
from tests.benchmarks.optimizer.recipes import Input, Recipe

_EXPORT_SECONDS = 900
_KERAS_FILE = Path(__file__).with_name("keras_models.py")
_KERAS_IMAGES = tuple(
    Recipe(
        name,
        None,
        (Input("pixels", ("batch", side, side, 3)),),
        ("scores",),
        ({"batch": 1}, {"batch": 3}),
        exporters=("tf2onnx",),
    )
    for name, side in (
        ("keras_cnn", 96),
        ("keras_efficientnet", 224),
        ("keras_mobilenet", 224),
        ("keras_resnet", 224),
        ("keras_senet", 96),
    )
)
_KERAS = (
    *_KERAS_IMAGES,
    Recipe(
        "keras_unet",
        None,
        (Input("pixels", ("batch", "height", "width", 3)),),
        ("scores",),
        ({"batch": 1, "height": 224, "width": 224}, {"batch": 3, "height": 72, "width": 120}),
        exporters=("tf2onnx",),
    ),
    Recipe(
        "keras_rnn",
        None,
        (Input("series", ("batch", "length", 32)),),
        ("scores",),
        ({"batch": 1, "length": 128}, {"batch": 3, "length": 16}),
        exporters=("tf2onnx",),
    ),
    Recipe(
        "keras_encoder",
        None,
        (Input("states", ("batch", "length", 384)),),
        ("encoded",),
        ({"batch": 1, "length": 128}, {"batch": 3, "length": 16}),
        exporters=("tf2onnx",),
    ),
)


@dataclass(frozen=True)
class Exhibit:
    """One model by one exporter: its file and its test inputs, or why there is none."""

    model: str
    exporter: str
    path: Path
    feeds: tuple[Path, ...]
    error: str = ""

    @property
    def name(self) -> str:
        """As in tables: model.exporter."""
        return f"{self.model}.{self.exporter}"


def recipes_of(full: bool) -> tuple[Recipe, ...]:
    """The whole zoo."""
    return (
        *text.RECIPES,
        *vision.RECIPES,
        *modules.RECIPES,
        *dense.RECIPES,
        *matrices.RECIPES,
        *branches.RECIPES,
        *gated.RECIPES,
        *activations.RECIPES,
        *audio.RECIPES,
        *decoders.recipes(full),
        *_KERAS,
        *published.RECIPES,
    )


def exhibit(recipe: Recipe, exporter: str, build: Path, *, full: bool) -> Exhibit:
    """Export ``recipe`` below ``build`` unless it lies there, made by this code and these versions.

    A failed export is kept as its error, so that it is not tried again each time.
    """
    folder = build / ("zoo-full" if full else "zoo") / f"{recipe.name}.{exporter}"
    path, note = folder / "model.onnx", folder / "done.json"
    wanted = _stamp(recipe)
    if not note.is_file() or json.loads(note.read_text())["stamp"] != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        print(f"exporting {recipe.name} by {exporter} ...", file=sys.stderr, flush=True)
        error = _export(recipe, exporter, folder, build, full=full)
        note.write_text(json.dumps({"stamp": wanted, "error": error}, indent=1))
    error = json.loads(note.read_text())["error"]
    feeds = tuple(sorted(folder.glob("feeds.*.npz")))
    return Exhibit(recipe.name, exporter, path, feeds, error)


def _stamp(recipe: Recipe) -> str:
    files = [Path(inspect.getfile(part)) for part in (recipes, export)]
    made_by = Path(inspect.getfile(recipe.build)) if recipe.build else _KERAS_FILE
    if recipe.name in published.PACKAGES:
        made_by = Path(inspect.getfile(published))
    files.append(made_by)
    seen = hashlib.sha256(repr((recipe.inputs, recipe.sizes)).encode())
    for file in files:
        seen.update(file.read_bytes())
    if recipe.build:
        versions = [f"{name}=={version(name)}" for name in ("torch", "transformers", "onnxscript")]
        seen.update(" ".join(versions).encode())
    else:
        seen.update(PEERS.read_bytes())
    return seen.hexdigest()


def _export(recipe: Recipe, exporter: str, folder: Path, build: Path, *, full: bool) -> str:
    """Export in a process of its own; gives its error, or ""."""
    command: Sequence[str]
    if exporter == published.EXPORTER:
        export.write_feeds(recipe, folder)
        return published.fetch(recipe.name, folder / "model.onnx", build / "packages")
    if recipe.build is None:
        export.write_feeds(recipe, folder)
        try:
            python = python_of("tensorflow", build / "environments")
        except PeerMissing as missing:
            return str(missing)
        command = [str(python), str(_KERAS_FILE), recipe.name, str(folder / "model.onnx")]
    else:
        command = [sys.executable, "-m", export.__name__, recipe.name, exporter, str(folder)]
        command = [*command, "--full"] if full else command
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_EXPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer in {_EXPORT_SECONDS} s"
    if done.returncode == 0 and (folder / "model.onnx").is_file():
        return ""
    return last_error(done.stderr) or f"exit code {done.returncode}"
