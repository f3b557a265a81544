"""ONNX itself (ML.NET, MATLAB, Custom Vision): validated, cleaned and passed through."""

from pathlib import Path
from tempfile import TemporaryDirectory

from modelkit.convert.archives import unpack_onnx
from modelkit.convert.source import Options, Route, Source
from modelkit.model import clone, load, read_inputs, validate
from modelkit.runtime.roles import guessed_specs
from modelkit.runtime.session import open_session


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """A source whose only route is the file as it is, once ONNX Runtime has opened it.

    Raises:
        BadInput: broken, or ONNX Runtime refuses it.
    """
    assert path is not None
    folder: TemporaryDirectory[str] | None = None
    files: tuple[Path, ...] = ()
    if name == "onnx-zip":
        folder = TemporaryDirectory(prefix="modelkit-archive-")
        path, files = unpack_onnx(path, Path(folder.name))
    model = load(path)
    # Its weights are mapped from the folder, which goes when the model goes.
    model.meta["modelkit.folder"] = folder
    validate(model)
    with open_session(path, optimize=False):
        pass
    specs = read_inputs(model)
    reference = None
    if folder or any((options.rename, options.output_names, options.static, options.dynamic_axes)):
        # Under other names the file itself cannot be fed with the result's inputs.
        reference = open_session(path, optimize=False).run
    if reference is not None or options.sample:
        specs = specs or guessed_specs(model)
    return Source("ONNX", reference, specs, (Route("as it is", lambda: clone(model)),), files)
