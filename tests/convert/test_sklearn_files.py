import zipfile
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from modelkit.convert.sklearn_files import read_model
from modelkit.errors import BadInput
from tests.convert import tables


def test_skops_is_read_without_trust(tmp_path: Path) -> None:
    values, target = tables.numbers()
    path = tables.saved(LinearRegression().fit(values, target), tmp_path / "m.skops")
    model, notes = read_model(path, "skops", trust=False)
    assert model.n_features_in_ == 10
    assert not notes


def test_unknown_types_in_skops_need_trust(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(tables.passengers))
    path = tables.saved(model, tmp_path / "m.skops")
    with pytest.raises(BadInput, match="not known to be harmless") as caught:
        read_model(path, "skops", trust=False)
    assert "passengers" in caught.value.cause
    assert caught.value.code == "untrusted"


def test_types_of_columns_need_no_trust_as_skops_writes_them(tmp_path: Path) -> None:
    path = tables.saved(tables.passenger_pipeline(), tmp_path / "m.skops")
    model, _ = read_model(path, "skops", trust=False)
    assert len(model.predict(tables.passengers()[0])) == 300
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    schema = held["schema.json"].replace(b'"DTypeNode"', b'"ObjectNode"')
    assert schema != held["schema.json"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (held | {"schema.json": schema}).items():
            archive.writestr(name, data)
    with pytest.raises(BadInput, match="not known to be harmless") as caught:
        read_model(path, "skops", trust=False)
    assert caught.value.cause == "numpy.dtype"


def test_broken_files_are_told(tmp_path: Path) -> None:
    joblib.dump(LinearRegression(), tmp_path / "m.pkl")
    whole = (tmp_path / "m.pkl").read_bytes()
    (tmp_path / "m.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="could not be loaded"):
        read_model(tmp_path / "m.pkl", "sklearn-pickle", trust=True)
    (tmp_path / "n.pkl").write_bytes(b"\x80\x04cnowhere_at_all\nThing\n.")
    with pytest.raises(BadInput, match="nowhere_at_all") as caught:
        read_model(tmp_path / "n.pkl", "sklearn-pickle", trust=True)
    assert caught.value.code == "code-missing"


def test_another_version_is_told(tmp_path: Path) -> None:
    model = LinearRegression()
    state = model.__getstate__()
    state["_sklearn_version"] = "0.9"
    model.__class__.__getstate__, kept = (lambda self: state), model.__class__.__getstate__
    try:
        joblib.dump(model, tmp_path / "m.pkl")
    finally:
        model.__class__.__getstate__ = kept
    _, notes = read_model(tmp_path / "m.pkl", "sklearn-pickle", trust=True)
    assert "saved by scikit-learn 0.9" in notes[0]
