import importlib
import inspect

import pytest

from modelkit.cli.app import COMMANDS
from modelkit.worker.verbs import VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_function_with_a_report(verb: str) -> None:
    module, _, name = VERBS[verb].partition(":")
    function = getattr(importlib.import_module(module), name)
    assert str(inspect.signature(function).return_annotation).endswith("Report'>") or str(
        inspect.signature(function).return_annotation
    ).endswith("Report")


def test_every_command_has_a_verb_but_the_server() -> None:
    """Some are options: ``bench --merge``, ``inspect A B``, ``optimize --list``, ``convert --list``."""
    assert set(VERBS) - {"merge", "diff", "rewrites", "formats", "share-cache"} == set(COMMANDS) - {
        "view"
    }
