import importlib
import inspect
import subprocess
import sys

import pytest

from modelkit import __version__
from modelkit.cli.app import COMMANDS


def modelkit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelkit", *arguments], capture_output=True, text=True, timeout=120
    )


def test_help_lists_every_command_with_its_line() -> None:
    done = modelkit("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_version() -> None:
    assert modelkit("--version").stdout == f"modelkit {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_tells_the_truth(name: str) -> None:
    function = getattr(importlib.import_module(f"modelkit.cli.{name}"), name)
    first_line = (inspect.getdoc(function) or "").splitlines()[0]
    assert first_line.startswith(COMMANDS[name])
    assert "Example: modelkit " + name in (inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    done = modelkit(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: modelkit {name}" in done.stdout


def test_a_misspelt_command_is_a_usage_error_with_a_suggestion() -> None:
    done = modelkit("optimise", "m.onnx")
    assert done.returncode == 2
    assert "Did you mean 'optimize'" in done.stderr


def test_a_misspelt_option_is_a_usage_error() -> None:
    done = modelkit("optimize", "m.onnx", "--leval", "all")
    assert done.returncode == 2
    assert "--level" in done.stderr
    assert "Traceback" not in done.stderr
