"""Compare the model with its source after each rewrite (``--check``)."""

from pathlib import Path

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.model import Model, clone, load, save, validate
from modelkit.passes import Watch
from modelkit.runtime.compare import verify
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import Feeds, open_session

STEP = "optimize"


class Spoiled(Exception):
    """The rewrite called ``name`` changed what the model computes; ``cause`` says how."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(name)
        self.name = name
        self.cause = cause


def watching(source: Path, folder: Path, *, seed: int = 0, data: Proposal | None = None) -> Watch:
    """A watch that raises :class:`Spoiled` at the first rewrite whose result differs.

    The source runs once, on ``data`` or generated inputs; the rewritten model is written to
    ``folder`` each time.

    Raises:
        CheckFailed: no usable inputs were found.
    """
    with open_session(source, optimize=False) as session:
        proposal = data or propose(load(source), session.run, seed=seed)
        kept = {id(feeds): session.run(feeds) for feeds, _ in proposal.trials}

    def reference(feeds: Feeds) -> Feeds:
        return kept[id(feeds)]

    def watch(name: str, model: Model) -> None:
        progress.step(f"check after {name}")
        # A copy: what is written carries its names and order, which passes rely on.
        copy = clone(model)
        try:
            validate(copy)
            place = save(copy, folder / "watched.onnx", force=True)
            verify(reference, place, step=STEP, proposal=proposal)
        except CheckFailed as error:
            raise Spoiled(name, error.cause or error.message) from None

    return watch
