import onnx_ir as ir
import pytest

from modelkit.model import clone, operator_counts
from modelkit.passes.join_parts import join_parts
from tests.models import parsed
from tests.passes.harness import check, normal

FEEDS = tuple({"x": normal(n, 4, 6, 6)} for n in (1, 3))
HEAD = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 4, 6, 6] x) => (float[n, 3, 6, 6] y)
    <float[8, 4, 1, 1] w1, float[6, 4, 1, 1] w2, float[3, 8, 1, 1] v1, float[3, 6, 1, 1] v2,
     float[8] b1, float[6] b2, float[3] c, float[4, 4, 3, 3] w3, float[3, 4, 1, 1] v3> {{ {} }}"""
BRANCHES = """i = Abs(x) p = Conv(i, w1, b1) q = Conv(i, w2, b2) r = Relu(p) s = Relu(q)
    t = Conv(r, v1, c) u = Conv(s, v2) """


def joined(body: str) -> tuple[int, dict[str, int]]:
    before = ir.from_proto(parsed(HEAD.format(body)))
    assert isinstance(before, ir.Model)
    after = clone(before)
    count = join_parts(after).count
    check(after, *FEEDS, before=before, exact=False)
    return count, operator_counts(after)


def test_branches_of_any_width_become_one() -> None:
    count, kinds = joined(BRANCHES + "y = Add(t, u)")
    assert count == 1
    assert kinds == {"Abs": 1, "Conv": 2, "Relu": 1}


def test_a_sum_inside_a_sum_is_found() -> None:
    body = "z = Conv<pads=[1,1,1,1]>(i, w3) k = Conv(z, v3) o = Add(u, t) y = Add(k, o)"
    count, kinds = joined(BRANCHES + body)
    assert count == 1
    assert kinds == {"Abs": 1, "Conv": 4, "Relu": 1, "Add": 1}


@pytest.mark.parametrize(
    "body",
    [
        BRANCHES.replace("s = Relu(q)", "s = Sigmoid(q)") + "y = Add(t, u)",
        BRANCHES.replace("Conv(i, w2, b2)", "Conv(x, w2, b2)") + "y = Add(t, u)",
        BRANCHES.replace("Conv(i, w2, b2)", "Conv(i, w2)") + "y = Add(t, u)",
        BRANCHES + "m = ReduceMax(r) o = Add(t, u) y = Add(o, m)",
        "i = Abs(x) t = Conv(i, v3) y = Add(t, t)",
    ],
)
def test_other_sums_stay(body: str) -> None:
    assert joined(body)[0] == 0
