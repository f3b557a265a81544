"""PyTorch: a module made by a factory, weights for it, a pickled torch.nn module, TorchScript."""

import importlib
import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from modelkit.convert.export_torch import flat, reference, routes
from modelkit.convert.source import Options, Source
from modelkit.errors import BadInput, UsageError
from modelkit.model import InputSpec
from modelkit.safe import safe

_PLAIN_MODULES = ("torch.nn.modules.", "collections.OrderedDict", "torch._utils.")


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the module; ``path`` is None when a factory alone makes it.

    Raises:
        UsageError: the shape of an input is missing; the hint is what to type.
        BadInput: the file needs trust, or its weights do not fit the module.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    module = _module(path, name, options).eval()
    specs = _specs(module, options)
    samples = [_sample(spec) for spec in specs]
    names = _output_names(module, samples)
    return Source(
        {"torchscript": "TorchScript"}.get(name, "PyTorch"),
        reference(module, specs, names),
        specs,
        routes(module, specs, names, options, samples),
    )


def _module(path: Path | None, name: str, options: Options) -> torch.nn.Module:
    if name == "torchscript":
        assert path is not None
        return _loaded(path, lambda: torch.jit.load(str(path), map_location="cpu"))
    if options.model is None:
        assert path is not None
        return _pickled(path, name, options)
    module = _factory(options.model)()
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{safe(options.model)} made {type(module).__name__}, no torch module")
    if path is not None:
        _fill(module, _weights(path, name), path)
    return module


def _factory(text: str) -> Callable[[], Any]:
    """The function behind "package.module:function"; the working folder comes first."""
    module_name, colon, function = text.partition(":")
    if not (module_name and colon and function):
        raise UsageError(f"--model {safe(text)} is not module:factory")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module_name), function, None)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"there is no Python module '{safe(module_name)}'",
            cause=str(error),
            hint="run from the folder that holds it, or install it",
        ) from None
    finally:
        sys.path.pop(0)
    if not callable(made):
        raise UsageError(f"module '{safe(module_name)}' has no function '{safe(function)}'")
    found: Callable[[], Any] = made
    return found


def _weights(path: Path, name: str) -> dict[str, torch.Tensor]:
    if name == "safetensors":
        from safetensors.torch import load_file

        found: dict[str, torch.Tensor] = _loaded(path, lambda: load_file(str(path)))
        return found
    value = _loaded(path, lambda: torch.load(str(path), map_location="cpu", weights_only=True))
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not isinstance(value, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in value.values()
    ):
        raise BadInput(f"{safe(str(path))} holds no state_dict")
    return value


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise BadInput(
            f"the weights in {safe(str(path))} do not fit the module",
            cause=safe(" ".join(str(error).split()), 500),
            hint="is it the factory of this checkpoint?",
        ) from None


def _pickled(path: Path, name: str, options: Options) -> torch.nn.Module:
    """A whole module; only torch.nn classes are made without trust."""
    shown = safe(str(path))
    if name == "safetensors":
        raise UsageError(
            f"{shown} holds weights without code",
            hint="add --model module:factory, a function that builds the module",
        )
    globals_used = _loaded(
        path, lambda: torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    )
    foreign = [g for g in globals_used if not g.startswith(_PLAIN_MODULES)]
    if foreign and not options.trust_source:
        raise BadInput(
            f"{shown} would run code of {safe(foreign[0], 80)} while loading",
            cause="a pickle can run anything; only torch.nn classes are loaded unasked",
            hint="if you trust it, add --trust-source; else give its state_dict and --model",
            code="untrusted",
        )
    if options.trust_source:
        value = _loaded(path, lambda: torch.load(str(path), "cpu", weights_only=False))
    else:
        classes = [_class(g) for g in globals_used]
        with torch.serialization.safe_globals(classes):
            value = _loaded(path, lambda: torch.load(str(path), "cpu", weights_only=True))
    if isinstance(value, torch.nn.Module):
        return value
    raise UsageError(
        f"{shown} holds {type(value).__name__}, weights without code",
        hint="add --model module:factory, a function that builds the module",
    )


def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (RuntimeError, ValueError, EOFError, OSError, AttributeError) as error:
        raise _unreadable(path, error) from None
    except Exception as error:
        # torch and safetensors raise private exception types on broken files.
        if type(error).__module__.split(".")[0] in ("_pickle", "pickle", "safetensors_rust"):
            raise _unreadable(path, error) from None
        raise


def _unreadable(path: Path, error: Exception) -> BadInput:
    return BadInput(
        f"{safe(str(path))} could not be loaded by torch",
        cause=safe(str(error).strip().splitlines()[0] if str(error).strip() else repr(error), 300),
        hint="is the file whole, and of the kind its name says?",
    )


def _specs(module: torch.nn.Module, options: Options) -> tuple[InputSpec, ...]:
    if not options.input_shape:
        name = _first_argument(module)
        raise UsageError(
            "the shapes of the inputs are not in the file",
            hint=f"add --input-shape {name}:{_hint(module)}",
            code="input-shape",
        )
    return tuple(_spec(text) for text in options.input_shape)


def _spec(text: str) -> InputSpec:
    """``NAME:2,3,224,224[:float32]``; a word in place of a length names a dynamic axis."""
    name, _, rest = text.partition(":")
    dims, _, dtype = rest.partition(":")
    parts = [part.strip() for part in dims.split(",") if part.strip()]
    if not name or not parts:
        raise UsageError(
            f"--input-shape {safe(text)} is not NAME:DIM,DIM[:TYPE]",
            hint="write it as --input-shape x:batch,3,224,224",
        )
    shape = tuple(int(part) if part.isdecimal() else part for part in parts)
    kind = dtype or "float32"
    if not hasattr(torch, kind):
        raise UsageError(f"--input-shape {safe(text)}: no type is called '{safe(kind)}'")
    # A leading number is the size of a sample; the axis itself is the batch.
    if isinstance(shape[0], int) and len(shape) > 1:
        shape = ("batch", *shape[1:])
    role = "ids" if "int" in kind else ("pixels" if len(shape) == 4 else "float")
    return InputSpec(name, kind, shape, role)


def _sample(spec: InputSpec) -> torch.Tensor:
    shape = [dim if isinstance(dim, int) else 3 + axis for axis, dim in enumerate(spec.shape)]
    kind = getattr(torch, spec.dtype)
    if kind.is_floating_point:
        return torch.randn(shape, dtype=kind)
    return torch.randint(0, 2, shape).to(kind)


def _output_names(module: torch.nn.Module, samples: list[torch.Tensor]) -> list[str]:
    try:
        with torch.no_grad():
            count = len(flat(module(*samples)))
    except Exception as error:
        raise UsageError(
            "the module does not run on inputs of these shapes",
            cause=safe(str(error).strip().splitlines()[0], 300),
            hint="check --input-shape: names, order, lengths and types",
            code="input-shape",
        ) from None
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _first_argument(module: torch.nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        names = [value.debugName() for value in module.graph.inputs()][1:]
        return names[0].split(".")[0] if names else "x"
    return next(iter(inspect.signature(module.forward).parameters), "x")


def _hint(module: torch.nn.Module) -> str:
    """A shape that the first layer would take."""
    for _, weight in module.named_parameters():
        if weight.ndim == 4:
            return f"batch,{weight.shape[1]},224,224"
        if weight.ndim == 2:
            return f"batch,{weight.shape[1]}"
        if weight.ndim == 3:
            return f"batch,{weight.shape[1]},{max(64, math.prod(weight.shape[2:]))}"
    return "batch,DIM"
