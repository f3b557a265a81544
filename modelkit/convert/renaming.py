"""``--rename`` and ``--output-names``: inputs and outputs under other names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx_ir import Value

from modelkit.convert.source import Options, Route, Source
from modelkit.errors import UsageError
from modelkit.model import InputSpec, Model, fresh_name
from modelkit.model.walk import inside
from modelkit.runtime.session import Feeds
from modelkit.safe import safe


def parse_names(texts: Sequence[str]) -> dict[str, str]:
    """Old name to new, of texts as "old=new".

    Raises:
        UsageError: not of the form, or a name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not (old and equals and new) or old in found or new in found.values():
            raise UsageError(
                f"--rename {safe(text)} is not OLD=NEW, or names something twice",
                hint="write it as --rename input_1=image",
            )
        found[old] = new
    return found


def renamed(source: Source, options: Options) -> Source:
    """``source`` whose inputs and outputs have the names that the user gave them."""
    names = parse_names(options.rename)
    if not names and not options.output_names:
        return source
    outputs: dict[str, str] = {}

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        assert source.reference is not None
        old = {new: name for name, new in names.items()}
        found = source.reference({old.get(name, name): v for name, v in feeds.items()})
        return {outputs.get(name, name): value for name, value in found.items()}

    def route(one: Route) -> Route:
        def export() -> Model:
            model = one.export()
            outputs.clear()
            outputs.update(rename(model, names, options.output_names))
            return model

        inputs = _specs(one.inputs, names) if one.inputs else None
        return replace(one, export=export, inputs=inputs)

    return replace(
        source,
        reference=run,
        inputs=_specs(source.inputs, names),
        routes=[route(one) for one in source.routes],
        trials=tuple({names.get(n, n): v for n, v in t.items()} for t in source.trials),
    )


def _specs(specs: Sequence[InputSpec], names: Mapping[str, str]) -> tuple[InputSpec, ...]:
    return tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in specs)


def rename(model: Model, names: Mapping[str, str], outputs: Sequence[str]) -> dict[str, str]:
    """Rename inputs and outputs in place; old to new name of the outputs.

    ``outputs`` names all outputs in order, after ``names`` was applied.

    Raises:
        UsageError: no such value, another count of outputs, or two values of one name.
    """
    graph = model.graph
    ends = [*graph.inputs, *graph.outputs]
    known = [value.name or "" for value in ends]
    for name in names:
        if name not in known:
            raise UsageError(
                f"--rename names '{safe(name)}', which is no input and no output",
                hint=f"there are: {', '.join(safe(n, 60) for n in known)}",
            )
    if outputs and len(outputs) != len(graph.outputs):
        raise UsageError(
            f"--output-names gives {len(outputs)} names for {len(graph.outputs)} outputs",
            hint=f"outputs: {', '.join(safe(v.name or '', 60) for v in graph.outputs)}",
        )
    old = [value.name or "" for value in graph.outputs]
    new = list(outputs) or [names.get(name, name) for name in old]
    wanted = [*(names.get(v.name or "", v.name or "") for v in graph.inputs), *new]
    if len(set(wanted)) != len(wanted):
        raise UsageError(
            "two inputs or outputs would have one name",
            cause=", ".join(safe(name, 60) for name in wanted),
        )
    _make_room(model, set(wanted) - set(known), ends)
    for value, name in zip(ends, wanted, strict=True):
        value.name = name
    return dict(zip(old, new, strict=True))


def _make_room(model: Model, taken: set[str], ends: Sequence[Value]) -> None:
    """Values inside that already have one of these names get others."""
    inner = [value for node in inside(model.graph) for value in node.outputs]
    for value in [*inner, *model.graph.initializers.values()]:
        if value.name in taken and value not in ends:
            value.name = fresh_name(model.graph, f"{value.name}_inner")
