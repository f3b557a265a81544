"""With PARITY=FILE in the environment every conversion that a test proves is noted there."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import modelkit.convert
from modelkit.convert.attempts import first_right

# Of the place where the tests were started: some tests change theirs.
TARGET = Path(os.environ["PARITY"]).resolve() if os.environ.get("PARITY") else None


@pytest.fixture(autouse=True)
def noted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of JSON for each result that the test's conversions were proven right with."""
    if not TARGET:
        return

    def proving(loaded: Any, *arguments: Any, **words: Any) -> Any:
        found = first_right(loaded, *arguments, **words)
        delivery, _, attempts, _ = found
        trials = delivery.verification.trials
        line = {
            "test": request.node.nodeid.rpartition("/")[2],
            "framework": loaded.framework,
            "route": attempts[-1].route,
            "step": delivery.verification.step,
            "shapes": len({json.dumps(trial.shapes) for trial in trials}),
            "errors": [asdict(error) for trial in trials for error in trial.errors],
        }
        with TARGET.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return found

    monkeypatch.setattr(modelkit.convert, "first_right", proving)
