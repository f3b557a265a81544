"""Names in the user's own Python code; importing them runs that code."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelkit.errors import UsageError
from modelkit.safe import safe


def attribute_of(text: str, option: str) -> Any:
    """What "package.module:name" names, of whatever type; ``option`` is how it was typed.

    Raises:
        UsageError: not of the form, no such module or name, or the module cannot be imported.
    """
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name) or module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("/", ".")
        raise UsageError(
            f"{option} {safe(text)} is not module:function",
            hint=f"write it as {option} {safe(dotted or 'net')}:{safe(name or 'build')}",
        )
    with working_folder_first():
        return _attribute(module_name, name)


def _attribute(module_name: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"module '{safe(module_name)}' needs '{safe(error.name)}', which is not installed"
            ) from None
        raise UsageError(
            f"there is no Python module '{safe(module_name)}'",
            hint="run from the folder that holds it, or install it",
        ) from None
    except AttributeError as error:
        if getattr(error.obj, "__name__", None) == module_name and error.name == name:
            raise UsageError(
                f"module '{safe(module_name)}' has no function '{safe(name)}'"
            ) from None
        raise _not_imported(module_name, error) from None
    except Exception as error:  # any code of the user's
        raise _not_imported(module_name, error) from None


def _not_imported(module_name: str, error: Exception) -> UsageError:
    return UsageError(
        f"module '{safe(module_name)}' could not be imported",
        cause=f"{line_of(error)}: {type(error).__name__}: {safe(str(error), 300)}",
    )


def line_of(error: Exception) -> str:
    """The file and line that raised ``error``."""
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
