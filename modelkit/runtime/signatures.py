"""What types each operator takes and gives: the specification's and ONNX Runtime's own schemas."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import onnx
import onnxruntime.capi.onnxruntime_pybind11_state as native

from modelkit.runtime import session as session  # says in our words when the runtime is missing

_STANDARD = ("", "ai.onnx.ml")


@dataclass(frozen=True)
class Formal:
    """One parameter of an operator.

    Attributes:
        variable: name shared by the parameters that have one type, or the type itself.
        types: the types it takes, as ``tensor(float)``.
        variadic: stands for any number of values; always the last.
        uniform: whether the values of a variadic parameter have one type.
    """

    variable: str
    types: frozenset[str]
    variadic: bool = False
    uniform: bool = True


@dataclass(frozen=True)
class Signature:
    """The parameters of an operator from one version on."""

    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]

    def input(self, position: int) -> Formal | None:
        """The parameter at ``position``; a variadic one stands for all that follow."""
        return _at(self.inputs, position)

    def output(self, position: int) -> Formal | None:
        """The result at ``position``."""
        return _at(self.outputs, position)


@cache
def signature(domain: str, kind: str, version: int) -> Signature | None:
    """What ``kind`` looks like at opset ``version``; None for operators nobody here knows."""
    domain = "" if domain == "ai.onnx" else domain
    if domain in _STANDARD:
        try:
            schema: Any = onnx.defs.get_schema(kind, version, domain)
        except onnx.defs.SchemaError:
            schema = None
        if schema is not None:
            return Signature(
                tuple(_standard(each) for each in schema.inputs),
                tuple(_standard(each) for each in schema.outputs),
            )
    found = _own().get((domain, kind), [])
    fitting = [each for each in found if each.since_version <= version]
    if not fitting:
        return None
    schema = max(fitting, key=lambda each: int(each.since_version))
    allowed = {t.type_param_str: frozenset(t.allowed_type_strs) for t in schema.type_constraints}
    return Signature(
        tuple(_foreign(each, allowed) for each in schema.inputs),
        tuple(_foreign(each, allowed) for each in schema.outputs),
    )


def computes_in(kind: str, type_text: str, provider: str = "") -> bool:
    """Whether this build has a kernel of standard operator ``kind`` for ``type_text``.

    ``provider`` narrows it to one provider, by ONNX Runtime's name.
    """
    return any(
        kernel.op_name == kind
        and kernel.domain == ""
        and (not provider or kernel.provider == provider)
        and any(type_text in types for types in kernel.type_constraints.values())
        for kernel in _kernels()
    )


def _at(formals: tuple[Formal, ...], position: int) -> Formal | None:
    if position < len(formals):
        return formals[position]
    return formals[-1] if formals and formals[-1].variadic else None


def _standard(formal: Any) -> Formal:
    variadic = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return Formal(formal.type_str, frozenset(formal.types), variadic, formal.is_homogeneous)


def _foreign(formal: Any, allowed: dict[str, frozenset[str]]) -> Formal:
    text = str(formal.typeStr)
    variadic = str(formal.option).endswith("Variadic")
    return Formal(text, allowed.get(text, frozenset((text,))), variadic, formal.isHomogeneous)


@lru_cache(maxsize=1)
def _own() -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for schema in native.get_all_operator_schema():
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found


@lru_cache(maxsize=1)
def _kernels() -> list[Any]:
    return list(native.get_all_opkernel_def())
