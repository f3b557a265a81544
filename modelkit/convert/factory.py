"""Call the Python function that builds a model; this runs the user's code by design."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelkit.errors import UsageError
from modelkit.safe import safe


def build(text: str) -> Any:
    """What "package.module:function" returns, called without arguments.

    The working folder comes first on Python's path, as with ``python -m``.

    Raises:
        UsageError: no such module or function, or it raised; the cause names the line.
    """
    module_name, colon, function = text.partition(":")
    if not (module_name and colon and function) or module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("/", ".")
        raise UsageError(
            f"--model {safe(text)} is not module:function",
            hint=f"write it as --model {safe(dotted or 'net')}:{safe(function or 'build')}",
        )
    with working_folder_first():
        made = _function(module_name, function)
        try:
            return made()
        except Exception as error:  # any code of the user's
            raise UsageError(
                f"{safe(text)} raised {type(error).__name__}",
                cause=f"{_line(error)}: {safe(str(error), 300)}",
                hint="it is called without arguments and returns the model",
                code="factory-failed",
            ) from None


def _function(module_name: str, function: str) -> Any:
    try:
        made = getattr(importlib.import_module(module_name), function, None)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"module '{safe(module_name)}' needs '{safe(error.name)}', which is not installed"
            ) from None
        raise UsageError(
            f"there is no Python module '{safe(module_name)}'",
            hint="run from the folder that holds it, or install it",
        ) from None
    except Exception as error:  # any code of the user's
        raise UsageError(
            f"module '{safe(module_name)}' could not be imported",
            cause=f"{_line(error)}: {type(error).__name__}: {safe(str(error), 300)}",
        ) from None
    if not callable(made):
        raise UsageError(f"module '{safe(module_name)}' has no function '{safe(function)}'")
    return made


def _line(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{safe(Path(frames[-1].filename).name, 80)}:{frames[-1].lineno}" if frames else ""


@contextmanager
def working_folder_first() -> Iterator[None]:
    """Let Python find the user's modules where the command was typed."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
