import pytest

from modelkit.passes.uniform import uniform
from tests.passes.harness import model_of

HEAD = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x, bool[n, 4] m) => (float[n, 4] y)
<float one = {1}, float[3] twos = {2, 2, 2}, float[2] mixed = {1, 2}, bool yes = {1}> """

COUNTED = """a = Constant<value_int=3>() c = Constant<value_int=1>() n = Neg(c) b = Size(x)
    r = Range(a, b, c) at = Constant<value_ints=[0]>() u = Unsqueeze(r, at)"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("v = Identity(twos)", 2.0),
        ("v = Identity(mixed)", None),
        ("v = Identity(x)", None),
        ("s = Shape(x) v = ConstantOfShape(s)", 0.0),
        ("s = Shape(x) v = ConstantOfShape<value = float[1] {3}>(s)", 3.0),
        ("s = Shape(x) v = Expand(yes, s)", 1.0),
        ("s = Shape(x) e = Expand(yes, s) v = Not(e)", 0.0),
        ("s = Shape(x) e = Expand(one, s) v = Greater(e, twos)", 0.0),
        ("s = Shape(x) e = Expand(one, s) v = Cast<to = 9>(e)", 1.0),
        ("c = Cast<to = 7>(twos) v = Identity(c)", None),
        ("v = And(m, yes)", None),
        ("i = Constant<value_ints=[2, 0]>() v = Gather(twos, i)", 2.0),
        (f"{COUNTED} f = Constant<value_int=3>() v = GreaterOrEqual(u, f)", 1.0),
        (f"{COUNTED} f = Constant<value_int=3>() v = Greater(u, f)", None),
        (f"{COUNTED} f = Constant<value_int=2>() v = Greater(u, f)", 1.0),
        (f"{COUNTED} f = Constant<value_int=0>() v = Less(u, f)", None),
        (f"{COUNTED.replace('(a, b, c)', '(a, c, n)')} v = GreaterOrEqual(u, a)", None),
    ],
)
def test_what_every_element_is(body: str, expected: float | None) -> None:
    model = model_of(f"{HEAD} {{ {body} y = Neg(x) }}")
    value = next(v for node in model.graph for v in node.outputs if v.name == "v")
    assert uniform(value) == expected


def test_the_depth_is_bounded() -> None:
    chain = "v0 = Identity(one) " + " ".join(f"v{i + 1} = Identity(v{i})" for i in range(12))
    model = model_of(f"{HEAD} {{ {chain} y = Neg(x) }}")
    values = {v.name: v for node in model.graph for v in node.outputs}
    assert (uniform(values["v3"]), uniform(values["v12"])) == (1.0, None)
