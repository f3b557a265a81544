"""The result itself is looked at too, not only its simulation."""

from pathlib import Path

from modelkit.errors import CheckFailed, ModelkitError
from modelkit.model import type_error
from modelkit.runtime.session import open_session
from modelkit.safe import safe


def check_opens(result: Path, source: Path, half: str, *, optimize: bool = True) -> None:
    """Open a model in FP16 as users will, optimizations on; ask onnx about the types of the other.

    Without ``optimize`` ONNX Runtime does not make a float copy of all weights beforehand.

    ONNX Runtime's CPU provider has no kernels for bfloat16, so nothing here can open such a model.

    Raises:
        CheckFailed: ONNX Runtime refuses it, or its types do not fit where those of ``source`` do.
    """
    if half == "fp16":
        try:
            open_session(result, optimize=optimize).close()
        except ModelkitError as error:
            raise _defect(half, error.cause or error.message) from None
        return
    found = type_error(result)
    if found and not type_error(source):
        raise _defect(half, found)


def _defect(half: str, cause: str) -> CheckFailed:
    return CheckFailed(
        f"the model in {half} is not one that a runtime opens",
        cause=safe(cause, 400),
        hint="nothing was written; --keep the operator named above",
        code="not-legal",
    )
