"""The errors modelkit raises for what a user can cause; only the command line catches them.

Each kind fixes the exit code of the process.  The text has three parts: what happened and where,
why (``cause``), and what to do next (``hint``).
"""


class ModelkitError(Exception):
    """Something the user can act on.

    Args:
        message: one line, what happened, naming file, node and operator.
        cause: one line, why; empty when the message says it.
        hint: one line, what to type or change next.
        code: kebab-case identifier for machines, stable between releases.
    """

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, cause: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint
        self.code = code or type(self).code

    def fields(self) -> dict[str, str | int]:
        """The error as the JSON object that ``--json`` prints."""
        return {
            "kind": type(self).__name__,
            "code": self.code,
            "message": self.message,
            "cause": self.cause,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class CheckFailed(ModelkitError):
    """A parity, accuracy or speed check did not pass; nothing was written."""

    exit_code = 1
    code = "check-failed"


class UsageError(ModelkitError):
    """An option or its value makes no sense."""

    exit_code = 2
    code = "usage"


class BadInput(ModelkitError):
    """A file is missing, not what it says it is, broken, or refused for safety."""

    exit_code = 3
    code = "bad-input"


class Unsupported(ModelkitError):
    """An operator, opset or format that this version cannot handle."""

    exit_code = 4
    code = "unsupported"


class MissingExtra(Unsupported):
    """A library that comes by extra is not installed."""

    code = "missing-extra"

    def __init__(self, doing: str, extra: str) -> None:
        super().__init__(
            f"{doing} needs the '{extra}' extra",
            hint=f'pip install "modelkit[{extra}]"',
        )


class ProviderMissing(ModelkitError):
    """An execution provider was asked for and did not open, or carried too little."""

    exit_code = 5
    code = "provider-missing"


class WorkerCrashed(ModelkitError):
    """The child process was killed by a signal in native code."""

    exit_code = 6
    code = "worker-crashed"


class TimedOut(ModelkitError):
    """The time limit ran out."""

    exit_code = 7
    code = "timed-out"


class OutOfMemory(ModelkitError):
    """The memory limit was reached."""

    exit_code = 8
    code = "out-of-memory"


class CannotWrite(ModelkitError):
    """The output exists, is not writable, or the disk is full."""

    exit_code = 9
    code = "cannot-write"


KINDS: dict[str, type[ModelkitError]] = {
    kind.__name__: kind
    for kind in (
        ModelkitError,
        CheckFailed,
        UsageError,
        BadInput,
        Unsupported,
        ProviderMissing,
        WorkerCrashed,
        TimedOut,
        OutOfMemory,
        CannotWrite,
    )
}


def from_fields(fields: dict[str, str | int]) -> ModelkitError:
    """Rebuild an error that crossed the worker's pipe; an unknown kind becomes the base one."""
    kind = str(fields.get("kind", ""))
    if kind == "MissingExtra":
        kind = "Unsupported"
    return KINDS.get(kind, ModelkitError)(
        str(fields.get("message", "")),
        cause=str(fields.get("cause", "")),
        hint=str(fields.get("hint", "")),
        code=str(fields.get("code", "")),
    )
