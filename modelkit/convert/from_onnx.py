"""ONNX itself (ML.NET, MATLAB, older exporters): validated, cleaned and passed through."""

from pathlib import Path

from modelkit.convert.source import Options, Route, Source
from modelkit.errors import Unsupported
from modelkit.model import Model, load, read_inputs
from modelkit.runtime.session import open_session
from modelkit.safe import safe


def open_model(path: Path, name: str, options: Options) -> Source:
    """A source whose only route is the file as it is, once ONNX Runtime has opened it."""
    model = load(path)
    with open_session(path, optimize=False):
        pass

    def unchanged() -> Model:
        opset = model.graph.opset_imports.get("", 0)
        if options.opset is not None and options.opset != opset:
            raise Unsupported(
                f"{safe(str(path))} is of opset {opset}, and changing it is not built yet",
                hint="leave --opset out",
            )
        return model.clone()

    return Source("ONNX", None, read_inputs(model), (Route("as it is", unchanged),))
