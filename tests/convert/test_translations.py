from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.export_torch import captured
from modelkit.convert.translations import read_table
from modelkit.errors import CheckFailed, Unsupported, UsageError
from modelkit.model import InputSpec, load
from tests.convert import translated
from tests.models import run

HERE = "tests.convert.translated"
SPECS = (InputSpec("x", "float32", ("batch", 4)),)


def convert(output: Path, table: str | None) -> object:
    translations = f"{HERE}:{table}" if table else None
    return convert_file(
        f"{HERE}:scaled", str(output), input_shape=["x:2,4"], translations=translations
    )


def test_an_operator_gets_the_form_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no ONNX form \(prims.spherical_bessel_j0\)") as caught:
        convert(tmp_path / "m.onnx", None)
    assert "--translations module:table" in caught.value.hint
    convert(tmp_path / "m.onnx", "TABLE")
    x = np.linspace(-1, 2.1, 12, dtype=np.float32).reshape(3, 4)
    expected = torch.special.spherical_bessel_j0(torch.from_numpy(x)).numpy() + 1
    np.testing.assert_allclose(run(tmp_path / "m.onnx", {"x": x})["output"], expected, rtol=1e-5)


def test_a_wrong_form_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="could not be converted"):
        convert(tmp_path / "m.onnx", "WRONG")
    assert not (tmp_path / "m.onnx").exists()


def test_a_form_may_be_of_another_domain(tmp_path: Path) -> None:
    table = read_table(f"{HERE}:CUSTOM")
    model = captured(translated.scaled(), SPECS, ["y"], [torch.ones(2, 4)], table=table)
    assert ("org.example", "Bessel") in {(n.domain, n.op_type) for n in model.graph}
    assert model.opset_imports["org.example"] == 1
    # Nothing here runs it, and so nothing proves it.
    with pytest.raises((Unsupported, CheckFailed)) as caught:
        convert(tmp_path / "m.onnx", "CUSTOM")
    assert "--custom-ops" in caught.value.hint


def test_an_operator_of_a_library_is_proven_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkit.runtime.session._everywhere", [])
    extensions = pytest.importorskip("onnxruntime_extensions")
    report = convert_file(
        f"{HERE}:inverted",
        str(tmp_path / "m.onnx"),
        input_shape=["x:3,5"],
        static=True,
        translations=f"{HERE}:INVERSE",
        custom_ops=[extensions.get_library_path()],
    )
    assert report.verification.passed
    assert ("ai.onnx.contrib", "Inverse") in {
        (node.domain, node.op_type) for node in load(tmp_path / "m.onnx").graph
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("NO_OPERATOR", "no operator of torch"),
        ("NO_FUNCTION", "gives int for"),
        ("HERE", "has no function 'HERE'"),
        ("scaled", "is Scaled, no table"),
    ],
)
def test_tables_that_mean_nothing_are_told(table: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        convert(tmp_path / "m.onnx", table)


def test_a_table_without_effect_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no operator of the module") as caught:
        convert_file(
            "tests.convert.samples:linear",
            str(tmp_path / "m.onnx"),
            input_shape=["x:2,8"],
            translations=f"{HERE}:UNUSED",
        )
    assert "aten.special_zeta.default" in caught.value.cause


def test_an_operator_that_onnx_does_not_define_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="does not define") as caught:
        convert(tmp_path / "m.onnx", "UNKNOWN")
    assert "onnxscript.script" in caught.value.hint


def test_a_script_takes_no_table(tmp_path: Path) -> None:
    torch.jit.trace(translated.scaled(), torch.ones(2, 4)).save(str(tmp_path / "m.pt"))
    with pytest.raises(UsageError, match="TorchScript"):
        convert_file(str(tmp_path / "m.pt"), input_shape=["x:2,4"], translations=f"{HERE}:table")


def test_names_of_operators_come_in_every_spelling() -> None:
    for name in ("TABLE", "CUSTOM", "table"):
        found = read_table(f"{HERE}:{name}")
        assert found is not None
        assert list(found) == [torch.ops.aten.special_spherical_bessel_j0.default]
    assert read_table(None) is None
