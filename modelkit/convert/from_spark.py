"""Spark ML pipelines, saved as folders; reading them needs a Java runtime."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from onnx_ir import Shape, Value, from_proto
from onnxmltools import convert_sparkml
from onnxmltools.convert.common.data_types import FloatTensorType, StringTensorType
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tabular import Column, Table, around
from modelkit.errors import BadInput, Unsupported
from modelkit.model import Model, clone
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_SPREAD = 3.0
_SPLIT = re.compile(r"\(feature (\d+) <= ([-+.\dEe]+)\)")
_RESULTS = ("prediction", "probability", "rawPrediction")
_OPSET = 15


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Load the pipeline; its inputs are the columns that no stage makes.

    Raises:
        Unsupported: there is no Java here, or a stage has no ONNX form.
        BadInput: no saved pipeline, or a broken one.
    """
    assert path is not None
    _check_class(path)
    if shutil.which("java") is None:
        raise Unsupported(
            "Spark models are read by Spark, which needs Java",
            hint="install a Java runtime, 17 or newer, or export the pipeline's parts another way",
            code="missing-java",
        )
    spark = _session()
    try:
        pipeline = PipelineModel.load(str(path.resolve()))
    except Exception as error:  # py4j raises any type
        raise BadInput(
            f"{safe(str(path))} could not be loaded by Spark",
            cause=safe(str(error).strip().splitlines()[0], 300),
            hint="is the folder whole?",
            code="unreadable",
        ) from None
    table = Table(_columns(pipeline.stages))
    model = _exported(pipeline, table, spark)
    outputs = {v.name or "": v for v in model.graph.outputs}

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        frame = pd.DataFrame({n: _plain(v.reshape(-1)) for n, v in feeds.items()})
        found = pipeline.transform(spark.createDataFrame(frame)).toPandas()
        return {n: _array(found[n], value) for n, value in outputs.items()}

    title = f"Spark ML {safe(type(pipeline.stages[-1]).__name__, 60)}"
    route = Route("onnxmltools", lambda: clone(model))
    # Spark runs every trial as a job; two tell enough.
    return Source(title, run, table.specs(), (route,), trials=table.trials()[:2])


def _plain(values: np.ndarray) -> Any:
    return values.astype(float) if values.dtype.kind == "f" else values.astype(object)


def _array(column: Any, output: Value) -> np.ndarray:
    """A column of numbers or vectors in the type and rank of the result's output."""
    values = [v.toArray() if hasattr(v, "toArray") else [v] for v in column]
    whole = np.array(values, dtype=np.float64).reshape(len(column), -1)
    flat = output.shape is not None and len(output.shape) == 1
    kind = output.dtype.numpy() if output.dtype else np.dtype(np.float32)
    return (whole[:, 0] if flat else whole).astype(kind)


def _session() -> Any:
    builder = SparkSession.builder.master("local[2]").appName("modelkit")
    quiet = builder.config("spark.ui.enabled", "false").config("spark.driver.memory", "1g")
    quiet = quiet.config("spark.sql.execution.arrow.pyspark.enabled", "false")
    session = quiet.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def _check_class(path: Path) -> None:
    """Only a fitted pipeline says all it does."""
    parts = sorted((path / "metadata").glob("part-*"))
    try:
        kind = str(json.loads(parts[0].read_text(encoding="utf-8").splitlines()[0])["class"])
    except (IndexError, KeyError, ValueError, OSError) as error:
        raise BadInput(
            f"the metadata of {safe(str(path))} is broken", cause=safe(str(error), 200)
        ) from None
    if not kind.endswith(".PipelineModel"):
        raise BadInput(
            f"{safe(str(path))} holds {safe(kind.rpartition('.')[2], 60)}, no fitted pipeline",
            hint="save PipelineModel(stages=[...]) with the stages that make its features",
        )


def _columns(stages: Sequence[Any]) -> tuple[Column, ...]:
    """The columns that come from outside, in the order the stages name them."""
    made: set[str] = set()
    found: dict[str, Column] = {}
    for stage in stages:
        for name in _taken(stage):
            if name not in made and name not in found:
                found[name] = _column(name, stage)
        made |= set(_given(stage))
    ranges = _ranges(stages)
    return tuple(
        replace(column, low=ranges[name][0], high=ranges[name][1])
        if name in ranges and column.dtype != "str"
        else column
        for name, column in found.items()
    )


def _taken(stage: Any) -> list[str]:
    if stage.hasParam("inputCols") and stage.isSet("inputCols"):
        return list(stage.getInputCols())
    for kind in ("inputCol", "featuresCol"):
        if stage.hasParam(kind):
            return [str(stage.getOrDefault(kind))]
    return []


def _given(stage: Any) -> list[str]:
    if stage.hasParam("outputCols") and stage.isSet("outputCols"):
        return list(stage.getOutputCols())
    kinds = ("outputCol", "predictionCol", "probabilityCol", "rawPredictionCol")
    return [str(stage.getOrDefault(kind)) for kind in kinds if stage.hasParam(kind)]


def _column(name: str, stage: Any) -> Column:
    labels = getattr(stage, "labelsArray", None)
    if labels is None:
        if stage.hasParam("featuresCol"):
            raise Unsupported(
                f"the column '{safe(name)}' is a vector that no stage of the pipeline makes",
                hint="put the VectorAssembler into the pipeline, fit it again and save it",
            )
        return Column(name)
    place = _taken(stage).index(name)
    return Column(name, "str", values=tuple(str(label) for label in labels[place]))


def _ranges(stages: Sequence[Any]) -> dict[str, tuple[float, float]]:
    """Where the numbers of an assembler's columns lie, by a scaler or by the splits of trees."""
    found: dict[str, tuple[float, float]] = {}
    names: list[str] = []
    for stage in stages:
        if type(stage).__name__ == "VectorAssembler":
            names = list(stage.getInputCols())
        elif type(stage).__name__ == "StandardScalerModel" and len(stage.mean) == len(names):
            for name, mean, width in zip(names, stage.mean, stage.std, strict=True):
                found[name] = (mean - _SPREAD * width, mean + _SPREAD * width)
        elif hasattr(stage, "toDebugString") and not found:
            splits: list[list[float]] = [[] for _ in names]
            for feature, value in _SPLIT.findall(stage.toDebugString):
                if int(feature) < len(names):
                    splits[int(feature)].append(float(value))
            columns = around([np.array(values) for values in splits])
            found = {n: (c.low, c.high) for n, c in zip(names, columns, strict=True)}
    return found


def _exported(pipeline: Any, table: Table, spark: Any) -> Model:
    types = [
        (c.name, StringTensorType([None, 1]) if c.dtype == "str" else FloatTensorType([None, 1]))
        for c in table.columns
    ]
    try:
        proto = convert_sparkml(
            pipeline, "pipeline", types, spark_session=spark, target_opset=_OPSET
        )
    except Exception as error:  # onnxmltools and py4j raise any type
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        raise Unsupported(
            "onnxmltools could not convert the pipeline",
            cause=safe(lines[0], 300),
            hint="OneHotEncoder needs handleInvalid='keep'; replace stages it does not know",
            code="export-failed",
        ) from None
    model: Model = from_proto(proto)
    kept = [value for value in model.graph.outputs if value.name in _RESULTS]
    model.graph.outputs[:] = kept
    for value in (*model.graph.inputs, *kept):
        value.shape = Shape(["batch", *list(value.shape or (None, None))[1:]])
    return model
