"""A source framework as something to run, on inputs that an ONNX model of it takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from modelkit.convert import open_source
from modelkit.convert.frameworks import FRAMEWORKS
from modelkit.convert.source import Options
from modelkit.errors import UsageError
from modelkit.runtime.session import Feeds, Run
from modelkit.safe import safe

_NAMES = (*FRAMEWORKS, "eager", "tf", "tensorflow", "sklearn", "hf")


@dataclass(frozen=True)
class Reference:
    """A model in its own framework; ``bytes`` are those of its weights on disk."""

    framework: str
    run: Run
    bytes: int


def reference(source: str, feeds: Feeds, *, threads: int = 0, trust: bool = False) -> Reference:
    """Open ``source``, a path or "module:factory", also as "torch:model.pt", and try ``feeds``.

    Raises:
        UsageError: it is an ONNX file, or takes inputs that ``feeds`` do not have.
        BadInput, Unsupported, MissingExtra: it cannot be loaded.
    """
    kind, colon, rest = source.partition(":")
    hub = kind == "hf" and "@" in rest and not Path(rest).exists()
    if colon and kind in _NAMES and not hub and not Path(source).exists():
        source = rest
    options = Options(threads=threads, trust_source=trust)
    try:
        opened = open_source(source, options=options)
    except UsageError as error:
        if error.code != "input-shape":
            raise
        options = Options(threads=threads, trust_source=trust, input_shape=tuple(_shapes(feeds)))
        opened = open_source(source, options=options)
    run = opened.reference
    if run is None:
        raise UsageError(f"{safe(source)} is an ONNX file", hint="name it among the models instead")
    missing = [spec.name for spec in opened.inputs if spec.name not in feeds]
    if missing:
        raise UsageError(
            f"{safe(source)} wants an input '{safe(missing[0])}', the model has none",
            hint="compare a model with the source it was converted from",
            code="other-inputs",
        )
    run(feeds)
    return Reference(opened.framework, run, _size(Path(source)))


def is_framework(source: str) -> bool:
    """Whether ``source`` is something else than an ONNX file, as far as its name tells."""
    path = Path(source)
    if path.is_dir():
        return True
    if path.exists():
        from modelkit.convert.detect import format_of

        return path.suffix.lower() != ".onnx" and format_of(path).format != "onnx"
    kind, colon, rest = source.partition(":")
    return bool(colon) and (kind in _NAMES or rest.isidentifier())


def _shapes(feeds: Feeds) -> Iterable[str]:
    for name, value in feeds.items():
        yield f"{name}:{','.join(map(str, value.shape))}:{value.dtype}"


def _size(path: Path) -> int:
    weights = (".safetensors", ".bin", ".pt", ".pth", ".pt2", ".h5", ".keras", ".pb")
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.suffix in weights)
    return path.stat().st_size if path.is_file() else 0
