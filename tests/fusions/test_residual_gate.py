import pytest

from tests.harness import floats, rewritten

NAME = "residual_gate"
FEEDS = [
    {"x": floats(n, 8, h, 5), "n": floats(n, 8, 1, 1, seed=1)} for n, h in ((1, 1), (2, 3), (0, 2))
]


def text(body: str, gate: str = "b, 8, 1, 1", w: str = "float[1, 8, 1, 1] w") -> str:
    return f"""<ir_version: 8, opset_import: ["": 18]>
    g (float[b, 8, h, 5] x, float[{gate}] n) => (float[b, 8, h, 5] y)
    <{w}, float[8, 1, 1] c> {{ {body} }}"""


@pytest.mark.parametrize("gated", ["g = Mul(x, n) t = Mul(w, g)", "g = Mul(n, w) t = Mul(x, g)"])
@pytest.mark.parametrize(
    ("sums", "left"),
    [
        ("s = Add(t, c) y = Add(x, s)", ["Mul", "Add", "Mul", "Add"]),
        ("s = Add(x, c) y = Add(t, s)", ["Mul", "Add", "Mul", "Add"]),
        ("y = Add(t, x)", ["Mul", "Add", "Mul"]),
    ],
)
def test_the_map_is_multiplied_once(gated: str, sums: str, left: list[str]) -> None:
    result = rewritten(text(f"{gated} {sums}"), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators == left


BODY = "g = Mul(x, n) t = Mul(w, g) s = Add(t, c) y = Add(x, s)"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            text(BODY, gate="1, 8, 1, 1", w="float[1, 8, 1, 5] w"),
            "its factor is wider than the gate",
        ),
        (text(BODY, gate="k, 8, 1, 1"), "its gate is not known to fit the map"),
        (text(BODY, gate="8, 1, 1"), "the rank of the map or its gate is not known"),
    ],
)
def test_what_is_left(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_other_sums_are_left() -> None:
    for body in (BODY.replace("Add(x, s)", "Add(n, s)"), BODY.replace("Mul(x, n)", "Mul(x, x)")):
        assert not rewritten(text(body), [NAME], FEEDS).counts
