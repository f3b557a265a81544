"""What every framework's file gives: a function to trust, and ways to ONNX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelkit.model import InputSpec, Model
from modelkit.runtime.session import Run


@dataclass(frozen=True)
class Options:
    """What the user said about a source."""

    model: str | None = None
    input_shape: tuple[str, ...] = ()
    opset: int | None = None
    task: str | None = None
    trust_source: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Route:
    """One way to ONNX: ``export`` gives a model or raises a ModelkitError saying why not."""

    name: str
    export: Callable[[], Model]


@dataclass(frozen=True)
class Source:
    """A loaded model of some framework.

    Attributes:
        reference: runs the framework itself on arrays; None for ONNX.
        routes: ways to ONNX, best first.
        files: to be copied beside the result (tokenizer, labels).
    """

    framework: str
    reference: Run | None
    inputs: tuple[InputSpec, ...]
    routes: Sequence[Route]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())
