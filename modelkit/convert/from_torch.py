"""PyTorch: a factory with weights, a pickled torch.nn module, TorchScript, exported programs."""

import inspect
import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from modelkit.convert import torch_files
from modelkit.convert.axes import parse_axes
from modelkit.convert.export_torch import evaluate
from modelkit.convert.factory import build
from modelkit.convert.input_shapes import Asked, parse
from modelkit.convert.precision import Held, held_weights
from modelkit.convert.program import open_program
from modelkit.convert.source import Options, Source
from modelkit.convert.torch_source import source_of
from modelkit.errors import BadInput, ModelkitError, UsageError
from modelkit.model import InputSpec
from modelkit.safe import safe

# Where training loops keep the weights inside a checkpoint.
_WEIGHT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "module", "ema")
# What wrappers put before the name of every weight.
_WRAPPERS = ("module.", "_orig_mod.")
# Free axes in the example: 5, 6, ... times one of these, the first that the module takes.
_SCALES = (1, 8, 32)
_FREE_LENGTH = 5
_FREE_BATCH = 2


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the module; ``path`` is None when a factory alone makes it.

    Raises:
        UsageError: the shape of an input is missing; the hint is what to type.
        BadInput: the file needs trust, or its weights do not fit the module.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    if name == "pt2" and path is not None:
        return open_program(path, options)
    held = _read(path, name, options)
    clip = _clip_weights(held, options)
    if clip:
        from modelkit.convert.from_transformers import of_part
        from modelkit.convert.openai_clip import part_of

        short = held_weights(clip.values()).short
        part = part_of(clip, options.task)
        return of_part(part, {"dtype": short}, f"OpenAI CLIP ({options.task})", options, ())
    if options.task is not None:
        raise UsageError("--task means nothing for these weights", code="without-effect")
    module, weights = _module(held, path, options)
    asked = _asked(module, options)
    specs = tuple(_bounded(one.spec, module) for one in asked)
    samples, names = _example(module, asked, specs)
    title = "TorchScript" if name == "torchscript" else "PyTorch"
    return source_of(title, module, specs, names, samples, options, weights)


def _read(path: Path | None, name: str, options: Options) -> Any:
    """What the file holds: a module, or a dictionary with weights in it somewhere."""
    if path is None:
        return None
    if name == "torchscript":
        return torch_files.read_script(path)
    if name == "safetensors":
        return torch_files.read_safetensors(path)
    trust = options.trust_source
    if name == "torch-shards":
        return torch_files.read_shards(path, trust=trust)
    return torch_files.read_checkpoint(path, trust=trust)


def _clip_weights(held: Any, options: Options) -> dict[str, torch.Tensor]:
    """The weights of a file by whose names it is OpenAI's CLIP; empty for all others."""
    if options.model is not None:
        return {}
    if isinstance(held, torch.jit.ScriptModule):
        held = dict(held.state_dict())
    inner = held.get("state_dict", held) if isinstance(held, dict) else {}
    named = inner.items() if isinstance(inner, dict) else ()
    found = {str(k): v for k, v in named if isinstance(v, torch.Tensor)}
    signs = ("token_embedding.weight", "text_projection", "ln_final.weight")
    return found if all(sign in found for sign in signs) else {}


def _module(held: Any, path: Path | None, options: Options) -> tuple[torch.nn.Module, Held]:
    """The module in float32 and inference mode, and its weights as the file has them."""
    if options.model is None:
        if isinstance(held, torch.nn.Module):
            weights = held_weights(held.parameters())
            module = held.float() if weights.short else held
            # A frozen script has no mode to change.
            return (module.eval() if hasattr(module, "training") else module), weights
        raise _codeless(path)
    module = build(options.model)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{safe(options.model)} made {type(module).__name__}, no torch module")
    if path is None:
        return module.eval(), Held("", 0)
    given = _weights(held, path, module.state_dict().keys())
    _fill(module, given, path)
    return module.eval(), held_weights(v for v in given.values() if isinstance(v, torch.Tensor))


def _codeless(path: Path | None) -> UsageError:
    hint = "add --model module:function, a Python function that builds the module"
    folder = path if path is None or path.is_dir() else path.parent
    if folder is not None and (folder / "config.json").is_file():
        hint = f"name the folder that tells what they are for, {safe(str(folder))}, or {hint}"
    return UsageError(
        f"{safe(str(path))} holds weights without code", hint=hint, code="model-missing"
    )


def _weights(held: Any, path: Path, names: Collection[str]) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint, which trainers keep beside others under keys of their own."""
    if isinstance(held, torch.nn.Module):
        held = held.state_dict()
    for key in _WEIGHT_KEYS:
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    parts = held.values() if isinstance(held, dict) else ()
    dicts = [part for part in parts if isinstance(part, dict)]
    fitting = [part for part in dicts if names and part.keys() >= set(names)]
    held = fitting[0] if len(fitting) == 1 else held
    if not isinstance(held, dict) or not held:
        raise BadInput(f"{safe(str(path))} holds {type(held).__name__}, no state_dict")
    weights = {str(key): value for key, value in held.items()}
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    try:
        module.load_state_dict(weights, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BadInput(
            f"the weights in {safe(str(path))} do not fit the module",
            cause=safe(" ".join(str(error).split()), 500),
            hint="is it the function that built the model of this checkpoint?",
            code="weights-differ",
        ) from None


def _asked(module: torch.nn.Module, options: Options) -> tuple[Asked, ...]:
    names = _arguments(module)
    if options.input_shape:
        asked = _ordered(parse(options.input_shape, static=options.static), module)
        return _named_axes(asked, options)
    wanted = [f"--input-shape {safe(name)}:{_hint(module, name)}" for name in names]
    raise UsageError(
        "the shapes of the inputs are not in the file",
        cause=f"the module takes {', '.join(safe(name) for name in names)}",
        hint=f"add {' '.join(wanted)}",
        code="input-shape",
    )


def _named_axes(asked: tuple[Asked, ...], options: Options) -> tuple[Asked, ...]:
    """With the axes of --dynamic-axes dynamic and so named; their lengths are for the example."""
    names = parse_axes(options.dynamic_axes)
    found = []
    for one in asked:
        shape = list(one.spec.shape)
        for axis, name in names.get(one.spec.name, {}).items():
            if axis < len(shape):
                shape[axis] = name
        found.append(replace(one, spec=replace(one.spec, shape=tuple(shape))))
    return tuple(found)


def _ordered(asked: tuple[Asked, ...], module: torch.nn.Module) -> tuple[Asked, ...]:
    """In the order of the module's arguments where every name is one of them, else as typed."""
    if isinstance(module, torch.jit.ScriptModule):
        return asked
    order = list(inspect.signature(module.forward).parameters)
    if any(one.spec.name not in order for one in asked):
        return asked
    return tuple(sorted(asked, key=lambda one: order.index(one.spec.name)))


def _bounded(spec: InputSpec, module: torch.nn.Module) -> InputSpec:
    """Token ids stay below the rows of the smallest table of the module."""
    if spec.role == "mask":
        return replace(spec, low=0.0, high=1.0)
    tables = [int(w.shape[0]) for w in _tables(module)]
    if spec.role not in ("ids", "token_types") or not tables:
        return spec
    return replace(spec, low=0.0, high=float(min(tables) - 1))


def _example(
    module: torch.nn.Module, asked: tuple[Asked, ...], specs: tuple[InputSpec, ...]
) -> tuple[list[torch.Tensor], list[str]]:
    """Inputs on which the module runs, and the names of its outputs."""
    failure: ModelkitError | None = None
    generator = torch.Generator().manual_seed(0)
    for scale in _SCALES:
        lengths = dict(_lengths(asked, scale))
        samples = [_sample(spec, lengths, generator) for spec in specs]
        try:
            outputs = evaluate(module, samples)
        except ModelkitError as error:
            failure = failure or error
            continue
        if not outputs:
            raise BadInput("the module gives no tensors")
        return samples, list(outputs)
    assert failure is not None
    raise UsageError(
        failure.message,
        cause=failure.cause,
        hint="check --input-shape: names, order, lengths and types of "
        + ", ".join(safe(name) for name in _arguments(module)),
        code="input-shape",
    )


def _lengths(asked: tuple[Asked, ...], scale: int) -> Iterator[tuple[str, int]]:
    """A length for each dynamic axis: as asked, else one of its own."""
    free = 0
    given = {
        dim: length
        for one in asked
        for dim, length in zip(one.spec.shape, one.lengths, strict=True)
        if isinstance(dim, str) and length
    }
    yield from given.items()
    seen = set(given)
    for one in asked:
        for axis, dim in enumerate(one.spec.shape):
            if isinstance(dim, str) and dim not in seen:
                seen.add(dim)
                free += axis > 0
                yield dim, (_FREE_LENGTH + free - 1) * scale if axis else _FREE_BATCH


def _sample(spec: InputSpec, lengths: dict[str, int], generator: torch.Generator) -> torch.Tensor:
    shape = [dim if isinstance(dim, int) else lengths[dim] for dim in spec.shape]
    kind = getattr(torch, spec.dtype)
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator).to(kind)
    if spec.role == "mask":
        return torch.ones(shape, dtype=kind)
    if spec.role == "positions":
        return torch.arange(shape[-1]).expand(shape).to(kind)
    high = 2 if spec.high is None else int(spec.high) + 1
    return torch.randint(0, max(high, 1), shape, generator=generator).to(kind)


def _arguments(module: torch.nn.Module) -> list[str]:
    """Names of the inputs that have no default."""
    if isinstance(module, torch.jit.ScriptModule):
        # The first is the module itself; a trace numbers names it has seen before.
        values = [value.debugName() for value in module.graph.inputs()][1:]
        return [value.split(".")[0] for value in values] or ["x"]
    parameters = inspect.signature(module.forward).parameters.values()
    named = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return named or ["x"]


def _tables(module: torch.nn.Module) -> list[torch.Tensor]:
    found = []
    for part in module.modules():
        kind = getattr(part, "original_name", type(part).__name__)
        weight = getattr(part, "weight", None)
        if kind in ("Embedding", "EmbeddingBag") and isinstance(weight, torch.Tensor):
            found.append(weight)
    return found


def _hint(module: torch.nn.Module, name: str) -> str:
    """A shape that the first layer with weights would take."""
    if "mask" in name or "type_ids" in name:
        return "batch,sequence:int64"
    tables = {table.data_ptr() for table in _tables(module)}
    for weight in module.parameters():
        if weight.data_ptr() in tables:
            return "batch,sequence:int64"
        if weight.ndim == 4:
            return f"batch,{weight.shape[1]},224,224"
        if weight.ndim == 2:
            return f"batch,{weight.shape[1]}"
        if weight.ndim == 3:
            return f"batch,{weight.shape[1]},{max(64, math.prod(weight.shape[2:]))}"
    return "batch,LENGTH"
