import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyspark")
if shutil.which("java") is None:
    pytest.skip("no Java here", allow_module_level=True)

from pyspark.ml import Pipeline
from pyspark.ml.classification import GBTClassifier, LogisticRegression, RandomForestClassifier
from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.regression import LinearRegression

from modelkit.convert import convert_file
from modelkit.convert.from_spark import _session
from modelkit.errors import BadInput, Unsupported
from tests.convert import tables
from tests.models import run

NAMES = list("abcd")


@pytest.fixture(scope="module")
def frame() -> Iterator[tuple[pd.DataFrame, Any]]:
    values, target = tables.binary()
    table = pd.DataFrame(values[:, :4], columns=NAMES)
    table["kind"] = np.where(values[:, 4] > 0.1, "high", "low")
    table["label"] = target.astype(float)
    yield table, _session().createDataFrame(table)


def stages(last: Any, *, kinds: bool) -> Pipeline:
    made: list[Any] = []
    if kinds:
        made += [
            StringIndexer(inputCol="kind", outputCol="index"),
            OneHotEncoder(inputCols=["index"], outputCols=["vector"], handleInvalid="keep"),
        ]
    columns = [*NAMES, *(["vector"] if kinds else [])]
    made.append(VectorAssembler(inputCols=columns, outputCol="raw"))
    made.append(StandardScaler(inputCol="raw", outputCol="features", withMean=True))
    return Pipeline(stages=[*made, last])


@pytest.mark.parametrize(
    ("last", "kinds"),
    [
        (lambda: LogisticRegression(maxIter=10), False),
        (lambda: LogisticRegression(maxIter=10), True),
        (lambda: RandomForestClassifier(numTrees=3, seed=0), False),
        (lambda: GBTClassifier(maxIter=2, seed=0), False),
        (lambda: LinearRegression(), False),
    ],
    ids=["logistic", "strings", "forest", "boosted", "linear"],
)
def test_the_result_is_what_spark_gives(
    last: Any, kinds: bool, frame: tuple[pd.DataFrame, Any], tmp_path: Path
) -> None:
    table, data = frame
    model = stages(last(), kinds=kinds).fit(data)
    model.write().overwrite().save(str(tmp_path / "model"))
    report = convert_file(str(tmp_path / "model"), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    feeds = {name: table[[name]].to_numpy(np.float32)[:40] for name in NAMES}
    if kinds:
        feeds["kind"] = table[["kind"]].to_numpy(dtype=object)[:40]
    found = run(tmp_path / "m.onnx", feeds)
    expected = model.transform(data).toPandas()[:40]
    prediction = expected.prediction.to_numpy()
    actual = found["prediction"].ravel()
    if "probability" in found:
        wanted = np.stack([value.toArray() for value in expected.probability])
        np.testing.assert_allclose(found["probability"], wanted, atol=1e-5)
        np.testing.assert_array_equal(actual.astype(float), prediction)
    else:
        np.testing.assert_allclose(actual, prediction, atol=1e-5)


def test_what_is_no_pipeline_is_told(frame: tuple[pd.DataFrame, Any], tmp_path: Path) -> None:
    _, data = frame
    features = VectorAssembler(inputCols=NAMES, outputCol="features").transform(data)
    model = LogisticRegression(maxIter=3).fit(features)
    model.write().overwrite().save(str(tmp_path / "model"))
    with pytest.raises(BadInput, match="holds LogisticRegressionModel, no fitted pipeline"):
        convert_file(str(tmp_path / "model"))
    bare = Pipeline(stages=[LogisticRegression(maxIter=3)]).fit(features)
    bare.write().overwrite().save(str(tmp_path / "bare"))
    with pytest.raises(Unsupported, match="is a vector that no stage"):
        convert_file(str(tmp_path / "bare"))


def test_without_java_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkit.convert.from_spark.shutil.which", lambda name: None)
    (tmp_path / "metadata").mkdir()
    head = '{"class":"org.apache.spark.ml.PipelineModel"}'
    (tmp_path / "metadata" / "part-00000").write_text(head)
    with pytest.raises(Unsupported, match="needs Java") as caught:
        convert_file(str(tmp_path))
    assert caught.value.code == "missing-java"
    assert "17 or newer" in caught.value.hint
