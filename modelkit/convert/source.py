"""What every framework's file gives: a function to trust, and ways to ONNX."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.model import InputSpec, Model
from modelkit.runtime.session import Feeds, Run


@dataclass(frozen=True)
class Options:
    """What the user said about a source.

    Attributes:
        model: "package.module:function" that builds the torch module.
        input_shape: texts of :mod:`modelkit.convert.input_shapes`.
        opset: of the result; None leaves it to the exporter.
        task: a key of ``from_transformers.TASKS``.
        trust_source: files that run code while loading are loaded.
        threads: of the framework; 0 leaves its default.
        preprocessing: words of ``runtime.data.settings``, kept in the result.
        double: compute in float64, where a format can.
        dynamic_axes: texts of :func:`modelkit.convert.axes.parse_axes`.
        static: no axis is dynamic.
        dtype: of the weights: "float32", "float16", or "source" for what the file has.
        sample: a .npz file of inputs to compare on.
        rename, output_names: see :mod:`modelkit.convert.renaming`.
        translations: "package.module:table" of :mod:`modelkit.convert.translations`.
        inputs, outputs: names of the nodes a graph begins and ends at, where a format can be cut.
    """

    model: str | None = None
    input_shape: tuple[str, ...] = ()
    opset: int | None = None
    task: str | None = None
    trust_source: bool = False
    threads: int = 0
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    double: bool = False
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    dynamic_axes: tuple[str, ...] = ()
    static: bool = False
    dtype: str = "float32"
    sample: str = ""
    translations: str | None = None
    rename: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()


def options_of(said: Mapping[str, Any]) -> Options:
    """Options from JSON values: lists become tuples, and None the default."""
    known = {key: value for key, value in said.items() if value is not None}
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
    return Options(**fields)


@dataclass(frozen=True)
class Route:
    """One way to ONNX: ``export`` gives a model or raises a ModelkitError saying why not.

    ``inputs`` replaces the source's where this way gives less (fixed axes); ``note`` then says so.
    ``remarks`` looks at the finished model for what its user should know.
    """

    name: str
    export: Callable[[], Model]
    inputs: tuple[InputSpec, ...] | None = None
    note: str = ""
    remarks: Callable[[Model], Sequence[str]] | None = None


@dataclass(frozen=True)
class Source:
    """A loaded model of some framework.

    Attributes:
        reference: runs the framework itself, eagerly, on arrays; None for ONNX.
        routes: ways to ONNX, best first.
        files: to be copied beside the result (tokenizer, labels).
        trials: inputs to compare on, where the source knows better ones than generated.
        origin: where the trials come from, for the report.
        advice: what to type when the numbers differ.
        metadata: kept in the result.
        step: the row of ``runtime.compare.TOLERANCES`` that the result has to meet.
    """

    framework: str
    reference: Run | None
    inputs: tuple[InputSpec, ...]
    routes: Sequence[Route]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    trials: tuple[Feeds, ...] = ()
    origin: str = "ranges in the model"
    advice: str = ""
    step: str = "convert"
    metadata: Mapping[str, str] = field(default_factory=dict)
