"""Look at tensors inside a model: a copy of it with some of them as outputs too."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelkit.model import Model, load, save
from modelkit.runtime.session import Session, Setup


def inner_names(model: Model) -> list[str]:
    """Tensors that nodes of the main graph make, in the order they are made."""
    return [
        value.name for node in model.graph for value in node.outputs if value.name and value.uses()
    ]


@contextmanager
def observed(path: Path, names: Sequence[str], setup: Setup) -> Iterator[Session]:
    """A session on the model in ``path`` whose only outputs are the tensors ``names``."""
    model = load(path)
    made = {value.name: value for node in model.graph for value in node.outputs if value.name}
    model.graph.outputs.clear()
    model.graph.outputs.extend(made[name] for name in names)
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        copy = save(model, Path(folder) / "observed.onnx")
        with setup.open(copy) as session:
            yield session
