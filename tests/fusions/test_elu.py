from pathlib import Path

import numpy as np
import pytest

from modelkit.model import save
from tests.harness import floats, rewritten
from tests.models import Feeds, run

NAME = "elu"
FEEDS: list[Feeds] = [
    {"x": floats(0, 4)},
    {"x": floats(3, 4)},
    {"x": 100 * floats(3, 4)},
    {"x": np.array([[0, -0.0, 1e4, -1e4]], np.float32)},
]


def text(unit: str, kind: str = "float") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]> g ({kind}[n, 4] x) => ({kind}[n, 4] y)
    {{ y = {unit}(x) }}"""


@pytest.mark.parametrize(
    "unit",
    ["Elu", "Elu<alpha=0.3>", "Selu", "Selu<alpha=2.0, gamma=0.5>", "Celu", "Celu<alpha=2.5>"],
)
def test_every_unit_becomes_an_exponential(unit: str) -> None:
    result = rewritten(text(unit), [NAME], FEEDS)
    assert set(result.operators) <= {"Min", "Max", "Mul", "Exp", "Sub", "Add"}
    assert result.operators.count("Exp") == 1


def test_infinity_stays(tmp_path: Path) -> None:
    result = rewritten(text("Elu"), [NAME], [])
    path = save(result.model, tmp_path / "m.onnx")
    x = np.array([[np.inf, -np.inf, 0, 1]], np.float32)
    assert run(path, {"x": x})["y"].tolist() == [[np.inf, -1, 0, 1]]


def test_what_is_no_bound_or_no_float_is_refused() -> None:
    result = rewritten(text("Elu<alpha=-1.0>"), [NAME], FEEDS)
    assert result.reason(NAME) == "its lower bound is not below 0"
    assert rewritten(text("Elu", "double"), [NAME], []).reason(NAME) == "it is not float32"
