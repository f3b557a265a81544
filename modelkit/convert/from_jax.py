"""JAX: a Python function, or a Flax module with its parameters from a msgpack file.

The function is traced by jax2onnx; parameters are data only and never run code.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax2onnx import to_onnx
from onnx_ir import Model as IrModel
from onnx_ir import Shape, from_proto

from modelkit.convert.factory import build
from modelkit.convert.input_shapes import parse
from modelkit.convert.source import Options, Route, Source
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import InputSpec, Model
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_OPSET = 21
Function = Callable[..., Any]


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """The function that --model makes, applied to the parameters in ``path`` where there are any.

    Raises:
        UsageError: no --model, or shapes are missing; the hint is what to type.
        BadInput: the parameters cannot be read.
    """
    if options.model is None:
        raise UsageError(
            f"{safe(str(path))} holds parameters without code",
            hint="add --model module:function, a Python function that builds the Flax module",
            code="model-missing",
        )
    made = build(options.model)
    function = made if path is None else _applied(made, path, options.model)
    if not callable(function):
        raise UsageError(
            f"{safe(options.model)} made {type(made).__name__}, no function of arrays",
            hint="return a function that takes arrays and gives arrays",
        )
    specs = _specs(function, made, options)

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            found = function(*(feeds[spec.name] for spec in specs))
        except Exception as error:  # any code of the user's
            raise BadInput(
                "the function does not run on the inputs tried",
                cause=safe(" ".join(f"{type(error).__name__}: {error}".split()), 300),
                hint="check --input-shape",
                code="does-not-run",
            ) from None
        return dict(zip(_names(found), _leaves(found), strict=True))

    outputs: list[str] = []

    def export() -> Model:
        if not outputs:
            sample = {spec.name: _zeros(spec) for spec in specs}
            outputs.extend(run(sample))
        return _exported(function, specs, outputs)

    title = "JAX function" if path is None else f"Flax {safe(type(made).__name__, 60)}"
    return Source(title, run, specs, (Route("jax2onnx", export),))


def _applied(module: Any, path: Path, text: str) -> Function:
    """The module's ``apply`` with the parameters of the file."""
    from flax.serialization import msgpack_restore

    if not hasattr(module, "apply"):
        raise UsageError(
            f"{safe(text)} made {type(module).__name__}, which has no apply(parameters, ...)",
            hint="return a flax.linen module",
        )
    try:
        held = msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack raises any type
        raise BadInput(
            f"{safe(str(path))} could not be read as Flax parameters",
            cause=safe(str(error), 200),
            hint="was it cut off?",
            code="unreadable",
        ) from None
    variables = held if isinstance(held, dict) and "params" in held else {"params": held}
    return lambda *arrays: module.apply(variables, *arrays)


def _specs(function: Function, made: Any, options: Options) -> tuple[InputSpec, ...]:
    if options.input_shape:
        return tuple(one.spec for one in parse(options.input_shape, static=options.static))
    # A flax module's call says what it takes; a plain function says it itself.
    call = getattr(made, "__call__", function) if hasattr(made, "apply") else function  # noqa: B004
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(call).parameters.values()
    names = [p.name for p in parameters if p.kind in kinds and p.default is p.empty] or ["x"]
    wanted = " ".join(f"--input-shape {safe(name)}:batch,SIZE" for name in names)
    raise UsageError(
        "the shapes of the inputs are not in the source",
        cause=f"the function takes {', '.join(safe(name) for name in names)}",
        hint=f"add {wanted}",
        code="input-shape",
    )


def _zeros(spec: InputSpec) -> np.ndarray:
    return np.zeros([2 if isinstance(dim, str) else dim for dim in spec.shape], spec.dtype)


def _leaves(found: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(found)]


def _names(found: Any) -> list[str]:
    """The keys and numbers that lead to each array; "output" for a single one."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(found)]
    if paths == [()]:
        return ["output"]
    parts = [[str(getattr(k, "key", getattr(k, "idx", k))) for k in path] for path in paths]
    return ["_".join(part if not part[0].isdigit() else ["output", *part]) for part in parts]


def _exported(function: Function, specs: tuple[InputSpec, ...], outputs: list[str]) -> Model:
    wanted = [
        jax.ShapeDtypeStruct(spec.shape, spec.dtype)
        if all(isinstance(dim, int) for dim in spec.shape)
        else spec.shape
        for spec in specs
    ]
    try:
        proto = to_onnx(function, wanted, opset=_OPSET)
    except Exception as error:  # jax2onnx raises any type
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise Unsupported(
            "jax2onnx could not convert the function",
            cause=safe(lines[0] if lines else type(error).__name__, 300),
            hint="write that operation in another way; arguments by name help",
            code="export-failed",
        ) from None
    model: IrModel = from_proto(proto)
    for value, spec in zip(model.graph.inputs, specs, strict=True):
        value.name, value.shape = spec.name, Shape(list(spec.shape))
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = name
    return model
