from modelkit.passes import BASIC, run_passes
from modelkit.passes.remove_dead_branches import remove_dead_branches
from tests.passes.harness import applied, check, model_of, normal, ops


def branches(condition: str, declared: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 1] x{declared}) => (float[n, 1] y) {condition} {{
      r = If(c) <
        then_branch = t () => (float[n, 1] p) <float[1] k = {{2.0}}> {{ q = Mul(x, k)
                                                                      p = Exp(q) }},
        else_branch = e () => (float[n, 1] p) {{ p = Neg(x) }}>
      y = Identity(r)
    }}"""


def test_the_taken_branch_moves_out() -> None:
    text = branches("<bool c = {1}>")
    model, count = applied(text, remove_dead_branches, trials=({"x": normal(4, 1)},))
    assert (count, ops(model)) == (1, {"Mul": 1, "Exp": 1, "Identity": 1})
    assert any(value.const_value is not None for value in model.graph.initializers.values())


def test_a_branch_that_is_an_output_keeps_the_name() -> None:
    text = branches("<bool c = {0}>").replace("r = If", "y = If").replace("y = Identity(r)", "")
    model, _ = applied(text, remove_dead_branches, trials=({"x": normal(4, 1)},))
    assert ops(model) == {"Neg": 1}
    assert model.graph.outputs[0].name == "y"


def test_a_branch_that_gives_back_an_outer_value() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y) <bool c = {1}> {
      y = If(c) <then_branch = t () => (float[n] p) { p = Identity(x) },
                 else_branch = e () => (float[n] q) { q = Neg(x) }>
    }"""
    model, count = applied(text, remove_dead_branches, trials=({"x": normal(3)},))
    assert (count, ops(model)) == (1, {"Identity": 1})


def test_an_unknown_condition_keeps_both() -> None:
    assert applied(branches("", ", bool c"), remove_dead_branches)[1] == 0


def test_a_condition_on_a_static_dim_is_decided() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 1] x) => (float[k] y) <int64 one = {1}> {
      s = Shape(x)
      d = Gather(s, one)
      c = Equal(d, one)
      y = If(c) <then_branch = t () => (float[k] p) { p = Flatten(x) },
                 else_branch = e () => (float[k] q) { q = Neg(x) }>
    }"""
    model = model_of(text.replace("float[k]", "float[n, 1]"))
    before = model_of(text.replace("float[k]", "float[n, 1]"))
    run_passes(model, BASIC)
    assert "If" not in ops(model)
    check(model, {"x": normal(3, 1)}, before=before)
