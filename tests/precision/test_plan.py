import numpy as np

from modelkit.precision.plan import Evidence, Wishes, cast_share, make_plan, why_not
from modelkit.precision.ranges import Range
from tests.precision.graphs import BF16, FP16, graph


def planned(text: str, evidence: Evidence, half: object = FP16, **wishes: object) -> dict[str, str]:
    """Node to reason."""
    model = graph(text, half)  # type: ignore[arg-type]
    _, keep = make_plan(model, half, evidence, Wishes(**wishes))  # type: ignore[arg-type]
    return {node.name or "": reason for node, reason in keep.items()}


TEXT = """(float[n, 4] x) => (float[n, 4] y, float[m] d) <float[4, 4] w, float[4, 4] v, float k = {30000.0}>
{ flat = Constant<value = int64[1] {-1}>() [one] a = MatMul(x, w) [big] b = Mul(a, k)
  [move] c = Reshape(b, flat) [read] d = MatMul(c, c) [two] y = MatMul(x, v) }"""


def sample(size: float) -> Evidence:
    x = np.full((2, 4), size, np.float32)
    return Evidence(({"x": x},), origin="the samples")


def test_makers_and_readers_of_large_values_keep_float_also_behind_a_move() -> None:
    text = TEXT.replace("d = MatMul(c, c)", "e = Unsqueeze(c, zero) d0 = MatMul(c, c) d = Reshape(d0, flat)").replace("flat = C", "zero = Constant<value = int64[1] {0}>() flat = C")  # fmt: skip
    found = planned(text, sample(2.0))
    assert "reaches" in found["big"] and "half ends at 65504" in found["big"]
    assert found["read"].startswith("reads 'c'") or found["read"].startswith("reads 'b'")
    assert "move" in found and "two" not in found and "one" not in found


def test_seeded_inputs_leave_headroom() -> None:
    near = Range(peak=20000, kept=73)
    assert why_not(near, FP16, Evidence((), 1.0)) == ""
    assert "may differ 4 times" in why_not(near, FP16, Evidence((), 4.0, "seeded inputs"))
    assert "keep 12 dB" in why_not(Range(1e-7, 12), FP16, Evidence())
    assert (
        why_not(Range(float("inf"), 999), FP16, Evidence()) == "" == why_not(None, FP16, Evidence())
    )


def test_bfloat16_needs_no_ranges() -> None:
    assert "big" not in planned(TEXT.replace("d = MatMul(c, c)", "d = Relu(c)"), sample(1e4), BF16)


def test_what_the_user_wishes_comes_first() -> None:
    found = planned(TEXT.replace("d = MatMul(c, c)", "d = Relu(c)"), Evidence(), float_names=frozenset({"two"}))  # fmt: skip
    assert found == {"two": "--mixed: in half it costs too much accuracy"}


def test_the_share_of_casts_is_that_of_the_values_they_read() -> None:
    ranges = {"a": Range(1, 73, 100), "b": Range(1, 73, 300)}
    assert cast_share(["a", "a", "weight"], ranges) == 0.5
    assert cast_share([], ranges) == 0 and cast_share(["a"], {}) is None
