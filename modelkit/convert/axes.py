"""``--dynamic-axes`` and ``--static-shapes`` for sources whose axes are known from the file."""

import re
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from modelkit.convert.input_shapes import parse
from modelkit.convert.source import Options, Route, Source
from modelkit.errors import UsageError
from modelkit.model import InputSpec, Model
from modelkit.model.walk import inside
from modelkit.passes.set_dims import fix_dims
from modelkit.safe import safe

_AXIS = re.compile(r"(\d+)=([A-Za-z_]\w*)\Z")

Names = dict[str, dict[int, str]]


def parse_axes(texts: tuple[str, ...]) -> Names:
    """Input to axis to name, of texts as "x:0=batch,1=seq".

    Raises:
        UsageError: a text is not of the form, or names an axis twice.
    """
    found: Names = {}
    for text in texts:
        name, _, rest = text.rpartition(":")
        for part in rest.split(","):
            axis = _AXIS.match(part.strip())
            if not name or axis is None or int(axis[1]) in found.get(name, {}):
                raise UsageError(
                    f"--dynamic-axes {safe(text)} is not NAME:AXIS=NAME,AXIS=NAME",
                    hint="write it as --dynamic-axes x:0=batch,1=seq",
                )
            found.setdefault(name, {})[int(axis[1])] = axis[2]
    return found


def with_axes(source: Source, options: Options) -> Source:
    """``source`` with its dynamic axes named, or fixed, as the user said.

    Raises:
        UsageError: no such input or axis, an axis that the source fixes, or a length that is
            not known.
    """
    names = parse_axes(options.dynamic_axes)
    if names:
        source = _renamed(source, names)
    return _fixed(source, options) if options.static else source


def _renamed(source: Source, names: Names) -> Source:
    known = {spec.name: spec for spec in source.inputs}
    new: dict[str, str] = {}
    for name, axes in names.items():
        if name not in known:
            raise UsageError(
                f"--dynamic-axes names '{safe(name)}', which is no input",
                hint=f"inputs: {', '.join(safe(key, 60) for key in known)}",
            )
        shape = known[name].shape
        for axis, wanted in axes.items():
            if axis >= len(shape) or isinstance(shape[axis], int):
                raise UsageError(
                    f"axis {axis} of '{safe(name)}' cannot be dynamic",
                    cause=f"the source has {safe(name)}{list(shape)}",
                    hint="name only axes that the source leaves open",
                )
            old = str(shape[axis])
            if new.setdefault(old, wanted) != wanted:
                raise UsageError(
                    f"the axis '{safe(old)}' gets two names: {new[old]} and {wanted}",
                    hint="axes of one length have one name",
                )
    specs = tuple(_spec(spec, new) for spec in source.inputs)
    routes = [_route(route, new, {}) for route in source.routes]
    return replace(source, inputs=specs, routes=routes)


def _fixed(source: Source, options: Options) -> Source:
    lengths: dict[str, int] = {}
    for asked in parse(options.input_shape, static=True):
        spec = next((s for s in source.inputs if s.name == asked.spec.name), None)
        pairs = zip(spec.shape if spec else (), asked.lengths, strict=False)
        lengths |= {dim: length for dim, length in pairs if isinstance(dim, str)}
    lengths.setdefault("batch", 1)
    open_axes = {d for s in source.inputs for d in s.shape if isinstance(d, str)}
    if unknown := sorted(open_axes - set(lengths)):
        wanted = " ".join(f"--input-shape {_wanted(s, lengths)}" for s in source.inputs)
        raise UsageError(
            f"--static-shapes needs the length of {', '.join(safe(d, 40) for d in unknown)}",
            hint=f"add {wanted}",
            code="input-shape",
        )
    used = {name: length for name, length in lengths.items() if name in open_axes}
    specs = tuple(_spec(spec, used) for spec in source.inputs)
    routes = [_route(route, {}, used) for route in source.routes if not route.note]
    # Rows known to the source may be of other lengths than the one that is left.
    return replace(source, inputs=specs, routes=routes, trials=())


def _wanted(spec: InputSpec, lengths: Mapping[str, int]) -> str:
    dims = [str(lengths.get(d, 128)) if isinstance(d, str) else str(d) for d in spec.shape]
    return f"{safe(spec.name, 60)}:{','.join(dims)}"


def _spec(spec: InputSpec, new: Mapping[str, int | str]) -> InputSpec:
    shape = tuple(new.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape)
    return replace(spec, shape=shape)


def _route(route: Route, names: Mapping[str, str], lengths: Mapping[str, int]) -> Route:
    def export() -> Model:
        model = route.export()
        rename_axes(model, names)
        if lengths:
            fix_dims(model, lengths)
        return model

    inputs = tuple(_spec(spec, names) for spec in route.inputs) if route.inputs else None
    return replace(route, export=export, inputs=inputs)


def rename_axes(model: Model, names: Mapping[str, str]) -> None:
    """Give symbolic axes other names, everywhere in the model."""
    values = [*model.graph.inputs, *model.graph.outputs]
    values += [value for node in inside(model.graph) for value in node.outputs]
    for value in values:
        if value.shape is None:
            continue
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
        if any(dim in names for dim in dims):
            value.shape = ir.Shape([names.get(d, d) if isinstance(d, str) else d for d in dims])
