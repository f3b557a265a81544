from pathlib import Path

import numpy as np
import pytest

from modelkit.model import save
from tests.harness import floats, rewritten
from tests.models import Feeds, run

NAME = "mish"
FEEDS: list[Feeds] = [
    {"x": floats(0, 4)},
    {"x": floats(3, 4)},
    {"x": 40 * floats(3, 4)},
    {"x": np.array([[-200, 200, 19.9, 20.1]], np.float32)},
]


def text(body: str, kind: str = "float") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]> g ({kind}[n, 4] x) => ({kind}[n, 4] y)
    {{ {body} }}"""


@pytest.mark.parametrize(
    "body",
    [
        "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
        "s = Softplus(x) t = Tanh(s) y = Mul(t, x)",
        "y = Mish(x)",
    ],
)
def test_every_spelling_becomes_exponentials(body: str) -> None:
    result = rewritten(text(body), [NAME], FEEDS)
    assert result.operators == ["Min", "Exp", "Add", "Mul", "Add", "Div", "Mul"]


def test_a_spelling_that_overflows_by_itself() -> None:
    body = "o = Constant<value_float=1.0>() e = Exp(x) s = Add(e, o) l = Log(s) t = Tanh(l)"
    result = rewritten(text(f"{body} y = Mul(x, t)"), [NAME], FEEDS[:3])
    assert "Tanh" not in result.operators


def test_infinity_and_nan_stay(tmp_path: Path) -> None:
    result = rewritten(text("y = Mish(x)"), [NAME], [])
    path = save(result.model, tmp_path / "m.onnx")
    x = np.array([[np.inf, -np.inf, np.nan, 0]], np.float32)
    y = run(path, {"x": x})["y"][0]
    assert y[0] == np.inf
    assert np.isnan(y[1:3]).all()
    assert y[3] == 0


def test_other_types_are_refused() -> None:
    source = text("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "double")
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == "it is not float32"
