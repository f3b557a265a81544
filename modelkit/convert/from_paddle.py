"""PaddlePaddle inference models: Paddle 3's JSON programs and the older .pdmodel, with weights.

paddle2onnx may install packages on its own; the way it is called here forbids it.  Never import
this into a process that has TensorFlow: the two end each other.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
import paddle
import paddle2onnx
from paddle import inference

from modelkit.convert.source import Options, Route, Source
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import InputSpec, Model, clone, const_of, load
from modelkit.model.walk import inside
from modelkit.runtime.roles import guessed_specs
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

Predict = Callable[[Feeds], list[np.ndarray]]

_OPSET = 17
_PROGRAMS = (".json", ".pdmodel")


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load program and weights; inputs are those of the program.

    Raises:
        BadInput: program or weights are missing or broken.
        Unsupported: an operator has no ONNX form.
    """
    assert path is not None
    program = _program(path)
    weights = program.with_suffix(".pdiparams")
    if not weights.is_file():
        raise BadInput(
            f"{safe(str(program))} has no weights",
            hint=f"put {safe(weights.name)} beside it",
            code="weights-missing",
        )
    predict = (_of_paddle_2 if program.suffix == ".pdmodel" else _of_paddle_3)(program, weights)
    model = _exported(program, weights)
    specs = _bounded(guessed_specs(model), model)
    outputs = [value.name or "" for value in model.graph.outputs]

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            values = predict({spec.name: feeds[spec.name] for spec in specs})
        except Exception as error:  # paddle raises any type
            lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
            raise UsageError(
                "the program does not run on the inputs tried",
                cause=safe(lines[-1], 300),
                hint="give real ones with --sample FILE.npz",
            ) from None
        return dict(zip(outputs, values, strict=True))

    route = Route("paddle2onnx", lambda: clone(model))
    return Source("PaddlePaddle", run, specs, (route,))


def _of_paddle_3(program: Path, weights: Path) -> Predict:
    """A program as JSON, run as the layer that was saved."""
    try:
        layer = paddle.jit.load(str(program.with_suffix("")))
    except Exception as error:  # paddle raises any type
        raise _unreadable(program, error) from None
    layer.eval()

    def predict(feeds: Feeds) -> list[np.ndarray]:
        found = layer(*(paddle.to_tensor(value) for value in feeds.values()))
        return [v.numpy() for v in (found if isinstance(found, list | tuple) else [found])]

    return predict


def _of_paddle_2(program: Path, weights: Path) -> Predict:
    """A ProgramDesc, which Paddle 3 no longer loads as a layer, run by its inference engine."""
    config = inference.Config(str(program), str(weights))
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    try:
        engine = inference.create_predictor(config)
    except Exception as error:  # paddle raises any type
        raise _unreadable(program, error) from None

    def predict(feeds: Feeds) -> list[np.ndarray]:
        for name, value in feeds.items():
            engine.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(value))
        engine.run()
        names = engine.get_output_names()
        return [engine.get_output_handle(name).copy_to_cpu() for name in names]

    return predict


def _bounded(specs: tuple[InputSpec, ...], model: Model) -> tuple[InputSpec, ...]:
    """Whole numbers stay below the rows of the smallest table that is looked up."""
    rows = []
    for node in inside(model.graph):
        table = const_of(node.inputs[0]) if node.op_type == "Gather" else None
        if table is not None and table.ndim == 2:
            rows.append(table.shape[0])
    if not rows:
        return specs
    return tuple(
        replace(spec, low=0.0, high=min(rows) - 1.0) if "int" in spec.dtype else spec
        for spec in specs
    )


def _program(path: Path) -> Path:
    """The program that a folder, a program or its weights stand for."""
    if path.suffix == ".pdiparams":
        path = path.parent
    if path.is_file():
        return path
    found = sorted(file for end in _PROGRAMS for file in path.glob(f"*{end}"))
    with_weights = [file for file in found if file.with_suffix(".pdiparams").is_file()]
    if len(with_weights) == 1:
        return with_weights[0]
    raise BadInput(
        f"{safe(str(path))} holds {len(with_weights)} Paddle programs with weights",
        cause=f"it has: {', '.join(safe(file.name, 60) for file in found) or 'no program'}",
        hint="name the program file",
    )


def _exported(program: Path, weights: Path) -> Model:
    with TemporaryDirectory(prefix="modelkit-") as folder:
        target = Path(folder) / "model.onnx"
        try:
            paddle2onnx.export(
                str(program),
                str(weights),
                str(target),
                opset_version=_OPSET,
                optimize_tool="None",
            )
            return _whole(load(target))
        except BadInput:
            raise
        except Exception as error:  # paddle2onnx raises any type
            lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
            raise Unsupported(
                "paddle2onnx could not convert the program",
                cause=safe(lines[0], 300),
                hint="replace the operator named in the log by others",
                code="export-failed",
            ) from None


def _whole(model: Model) -> Model:
    """``model`` with its weights in memory: the file goes."""
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.const_value = _copied(value.const_value)
    return model


def _copied(tensor: Any) -> Any:
    return ir.tensor(np.array(tensor.numpy()), name=tensor.name)


def _unreadable(program: Path, error: Exception) -> BadInput:
    lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
    return BadInput(
        f"{safe(str(program))} could not be loaded by Paddle",
        cause=safe(lines[-1], 300),
        hint="is it whole, and of an inference model (paddle.jit.save)?",
        code="unreadable",
    )
