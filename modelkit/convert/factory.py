"""The user's own function that builds a model; runs that code."""

from typing import Any

from modelkit.errors import UsageError
from modelkit.runtime.user_code import attribute_of, line_of, working_folder_first
from modelkit.safe import safe


def build(text: str) -> Any:
    """What "package.module:function" returns, called without arguments.

    The working folder comes first on Python's path, as with ``python -m``.

    Raises:
        UsageError: no such module or function, or it raised; the cause names the line.
    """
    made = attribute_of(text, "--model")
    if not callable(made):
        module, _, name = text.partition(":")
        raise UsageError(f"module '{safe(module)}' has no function '{safe(name)}'")
    with working_folder_first():
        try:
            return made()
        except Exception as error:  # any code of the user's
            raise UsageError(
                f"{safe(text)} raised {type(error).__name__}",
                cause=f"{line_of(error)}: {safe(str(error), 300)}",
                hint="it is called without arguments and returns the model",
                code="factory-failed",
            ) from None
