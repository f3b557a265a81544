import numpy as np
import pytest

from modelkit.errors import Unsupported
from modelkit.passes.opsets.site import Site, constants, drop_inputs, has, scalar
from tests.passes.harness import check, model_of, normal, ops

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3] x, float l) => (float[n, 3] y) <float h = {1.5}> { y = Clip(x, l, h) }"""


def test_what_is_made_beside_a_node_takes_its_place() -> None:
    model, before = model_of(TEXT), model_of(TEXT.replace("Clip(x, l, h)", "Neg(x)"))
    site = Site(model, model.graph, model.graph[0])
    two = site.constant(np.array(2, dtype=np.float32))
    half = site.insert("Div", [model.graph.inputs[0], two])
    site.become(site.insert("Neg", [site.insert("Mul", [half, two])]))
    assert ops(model) == {"Div": 1, "Mul": 1, "Neg": 1}
    assert len(site.made) == 3
    feeds = {"x": normal(2, 3), "l": np.array(0, dtype=np.float32)}
    check(model, feeds, before=before)


def test_inputs_are_read_where_constant_and_refused_by_name_where_not() -> None:
    node = model_of(TEXT).graph[0]
    assert scalar(node, 2) == 1.5
    with pytest.raises(Unsupported) as caught:
        scalar(node, 1)
    assert "input 1 is computed" in caught.value.cause
    with pytest.raises(Unsupported):
        constants(node, 1)
    assert (has(node, 2), has(node, 3)) == (True, False)
    drop_inputs(node, 1)
    assert len(node.inputs) == 1
