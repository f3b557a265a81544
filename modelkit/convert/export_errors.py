"""What torch's exporters say, cut down to what, where and what to do."""

import re
import traceback
from pathlib import Path

from modelkit.errors import Unsupported
from modelkit.safe import safe

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r'File "([^"\n]+)", line (\d+), in (\S+)(?:\n\s*(\S[^\n]*))?')
_OVERLOAD = re.compile(r"OpOverload\(op='([\w.]+)'")
_OPERATOR = re.compile(r"(?:torch\.ops\.|aten::|prims::|')?\b((?:aten|prims|torchvision|quantized)"
                       r"(?:::|\.)[A-Za-z_0-9.]+)")  # fmt: skip
_LIBRARIES = ("/torch/", "/onnxscript/", "/onnx_ir/", "/onnx/", "/sympy/", "<")

NO_OPERATOR = "operator-missing"
"""Code of the error when an operator has no ONNX form; fixing axes does not help then."""

_NO_FORM = "an operator has no ONNX form"

# Part of an exporter's text to what it is, and what the user can do; the first found counts.
_KNOWN = (
    (
        ("GuardOnDataDependent", "Could not guard on data-dependent", "data-dependent"),
        "Python branches on the value of a tensor",
        "write the branch as torch.where or torch.cond",
    ),
    (
        ("conflicts between user-specified", "Constraints violated", "ConstraintViolation",
         "specialized it to be a constant", "not equal to"),
        "an axis named as dynamic is fixed by the module",
        "give that axis its length in --input-shape",
    ),
    (
        ("UnsupportedOperatorError", "No ONNX function found", "DispatchError",
         "No decompositions registered"),
        _NO_FORM,
        "replace it in the module by operators that ONNX has, or give it a form with"
        " --translations module:table",
    ),
    (
        ("Opset mismatch",),
        "a function of --translations is written in another opset",
        "write it with onnxscript.opset18",
    ),
    (
        ("No schema registered for", "OpSchema not found"),
        "a function of --translations uses an operator that ONNX does not define",
        "decorate the function with @onnxscript.script(onnxscript.values.Opset('my.domain', 1))",
    ),
    (
        ("Cannot view a tensor",),
        "a view of a permuted tensor cannot be taken apart",
        "use reshape in the module",
    ),
    (
        ("torch.jit.frontend", "NotSupportedError"),
        "the module uses Python that cannot be traced",
        "simplify the forward function",
    ),
)  # fmt: skip


def explained(error: Exception, route: str) -> Unsupported:
    """The error as three lines: what could not be exported, where and why, what to do."""
    root = _root(error)
    text = _ANSI.sub("", f"{type(root).__name__}: {root}").strip()
    everything = _ANSI.sub("", "\n".join(_texts(error)))
    what, hint = "the module could not be exported", "try another form of the module"
    for signs, meaning, advice in _KNOWN:
        if any(sign in everything for sign in signs):
            what, hint = meaning, advice
            break
    code = NO_OPERATOR if what == _NO_FORM else "export-failed"
    operator = _OVERLOAD.search(everything) or _OPERATOR.search(everything)
    named = f" ({safe(operator[1], 80)})" if operator else ""
    place = _where(root, everything)
    first = safe(" ".join(text.split("\n\n")[0].split()), 200)
    return Unsupported(
        f"torch's {route}: {what}{named}",
        cause=f"{place}: {first}" if place else first,
        hint=hint,
        code=code,
    )


def _root(error: BaseException) -> BaseException:
    seen = {id(error)}
    while error.__cause__ is not None and id(error.__cause__) not in seen:
        error = error.__cause__
        seen.add(id(error))
    return error


def _texts(error: BaseException | None) -> list[str]:
    found: list[str] = []
    while error is not None and len(found) < 10:
        found.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return found


def _where(root: BaseException, text: str) -> str:
    """The last line of the user's own code that is named; "" when none is."""
    places = [(f.filename, f.lineno or 0, f.line or "") for f in
              traceback.extract_tb(root.__traceback__)]  # fmt: skip
    places += [(m[1], int(m[2]), m[4] or "") for m in _PLACE.finditer(text)]
    own = [place for place in places if not _of_a_library(place[0])]
    if not own:
        return ""
    file, line, code = own[-1]
    shown = f"{safe(Path(file).name, 80)}:{line}"
    return f"{shown} `{safe(code.strip(), 120)}`" if code.strip() else shown


def _of_a_library(file: str) -> bool:
    parts = file.replace("\\", "/")
    return (
        any(name in parts for name in _LIBRARIES)
        or "/modelkit/convert/" in parts
        or ("/lib/python" in parts and "site-packages" not in parts)
    )
