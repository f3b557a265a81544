"""ONNX itself (ML.NET, MATLAB, older exporters): validated, cleaned and passed through."""

from pathlib import Path

from modelkit.convert.source import Options, Route, Source
from modelkit.model import clone, load, read_inputs, validate
from modelkit.runtime.session import open_session


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """A source whose only route is the file as it is, once ONNX Runtime has opened it.

    Raises:
        BadInput: broken, or ONNX Runtime refuses it.
    """
    assert path is not None
    model = load(path)
    validate(model)
    with open_session(path, optimize=False):
        pass
    return Source("ONNX", None, read_inputs(model), (Route("as it is", lambda: clone(model)),))
