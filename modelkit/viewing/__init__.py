"""``view``: a model's graph in Netron, on this machine only, from a private copy.

The page reads the file in the browser; nothing here interprets more of it than the names of its
data files.  This file is imported by the command line itself, so it imports nothing heavy on top.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import FrameType

from modelkit.errors import BadInput, CannotWrite, MissingExtra
from modelkit.reports import ViewReport
from modelkit.safe import safe
from modelkit.viewing.server import Server

_COPY = "model.onnx"
_TICK = 0.2


@dataclass(frozen=True)
class Parts:
    """A model's data files: the name it knows each by, relative to itself, and where it lies."""

    locations: tuple[str, ...]
    files: tuple[str, ...]


def parts(path: str) -> Parts:
    """The external data files of the model in ``path``; for the worker, as it reads the file.

    Raises:
        BadInput: see :func:`modelkit.model.load`.
    """
    from modelkit.model import load
    from modelkit.model.tensors import MappedTensor

    file = Path(path)
    model = load(file)
    graphs = [model.graph, *model.graph.subgraphs()]
    found = {
        value.const_value.path
        for graph in graphs
        for value in graph.initializers.values()
        if isinstance(value.const_value, MappedTensor)
    } - {file}
    root = file.absolute().parent
    names = sorted(place.absolute() for place in found)
    return Parts(tuple(os.path.relpath(name, root) for name in names), tuple(map(str, names)))


@contextmanager
def private_copy(path: Path, found: Parts) -> Iterator[Path]:
    """A folder of our own with the model as ``model.onnx`` and its data files beside it.

    Data files are linked where the file system can, so that gigabytes are not copied.

    Raises:
        CannotWrite: no space, or no folder for temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="modelkit-view-") as folder:
            copy = Path(folder) / _COPY
            shutil.copyfile(path, copy)
            for location, file in zip(found.locations, found.files, strict=True):
                place = copy.parent / location
                if not place.resolve().is_relative_to(copy.parent.resolve()):
                    continue  # the model's reader refuses such files already
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(Path(file), place)
            yield copy
    except OSError as error:
        raise CannotWrite(
            f"cannot copy {safe(str(path))} for the viewer", cause=safe(str(error))
        ) from None


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def serve(
    copy: Path, path: Path, *, port: int, browse: bool, tell: Callable[[str], None]
) -> ViewReport:
    """Serve ``copy`` until Ctrl-C or a polite signal; ``port`` 0 takes any free one.

    ``tell`` gets the address as soon as it answers.

    Raises:
        MissingExtra: Netron is not installed.
        BadInput: the port is taken.
    """
    page = _page()
    start = time.monotonic()
    try:
        server = Server(page, copy, port)
    except OSError as error:
        raise BadInput(
            f"port {port} cannot be used", cause=safe(str(error)), hint="leave --port out"
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(_TICK,), daemon=True)
        thread.start()
        try:
            with _asked_to_stop() as stop:
                tell(server.url)
                if browse:
                    webbrowser.open(server.url)
                while not stop.wait(_TICK):
                    pass
        finally:
            server.shutdown()
            thread.join()
    return ViewReport(str(path), server.url, time.monotonic() - start)


def _page() -> Path:
    """The folder of Netron's page; the package is not imported."""
    found = util.find_spec("netron")
    if found is None or found.origin is None:
        raise MissingExtra("showing a model", "view")
    return Path(found.origin).parent


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or a signal by which shells and tests end a program."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, ask) for number in wanted}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
