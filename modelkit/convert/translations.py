"""``--translations module:table``: ONNX forms for torch operators that the exporter has none for.

The table maps operators of torch to functions of onnxscript that write their ONNX form, with
operators of ONNX or of a domain of the user's own.  Naming it runs that code, as --model does.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from modelkit.errors import UsageError
from modelkit.runtime.user_code import attribute_of
from modelkit.safe import safe

Table = Mapping[Callable[..., Any], Callable[..., Any]]


def read_table(text: str | None) -> Table | None:
    """The table that "package.module:name" is, or gives when it is called; None for None.

    A key is an operator, as ``torch.ops.aten.special_zeta.default``, or its name, as
    "aten::special_zeta".

    Raises:
        UsageError: no such module or table, or something in it is not of the form.
    """
    if text is None:
        return None
    held = attribute_of(text, "--translations")
    if callable(held) and not isinstance(held, Mapping):
        held = held()
    if not isinstance(held, Mapping) or not held:
        raise UsageError(
            f"--translations {safe(text)} is {type(held).__name__}, no table",
            hint="write it as {torch.ops.aten.special_zeta.default: onnxscript_function}",
        )
    table: dict[Callable[..., Any], Callable[..., Any]] = {}
    for key, form in held.items():
        if not callable(form):
            raise UsageError(
                f"--translations {safe(text)} gives {type(form).__name__} for {safe(str(key), 80)}",
                hint="a function of the operator's arguments that writes its ONNX form",
            )
        table[_operator(key, text)] = form
    return table


def refuse_unused(table: Table, program: Any) -> None:
    """Refuse a table of which the exported program has no operator.

    Raises:
        UsageError: naming both.
    """
    graph = program.graph
    targets = {node.target for node in graph.nodes if node.op == "call_function"}
    if targets and not targets & set(table):
        raise UsageError(
            "--translations has no operator of the module",
            cause=f"it is for {_named(table)}; the module has {_named(targets)}",
            hint="leave it out, or name the operator that the error tells",
            code="without-effect",
        )


def _named(operators: Any) -> str:
    names = sorted(str(each) for each in operators)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(safe(name, 60) for name in names[:8]) + more


def _operator(key: Any, text: str) -> Callable[..., Any]:
    if isinstance(key, str):
        key = _by_name(key)
    if isinstance(key, torch._ops.OpOverloadPacket):
        key = key.default if "default" in key.overloads() else None
    if not isinstance(key, torch._ops.OpOverload):
        raise UsageError(
            f"--translations {safe(text)} has a key that is no operator of torch",
            hint="write it as torch.ops.aten.special_zeta.default or 'aten::special_zeta'",
        )
    operator: Callable[..., Any] = key
    return operator


def _by_name(name: str) -> Any:
    """The operator of a name as "aten::special_zeta" or "aten.special_zeta.default"."""
    parts = name.replace("::", ".", 1).split(".")
    try:
        found: Any = torch.ops
        for part in parts if len(parts) in (2, 3) else ("",):
            found = getattr(found, part)
    except (AttributeError, RuntimeError):
        return None
    return found
