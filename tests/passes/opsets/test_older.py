import onnx
import pytest

from modelkit.passes.opsets.older import RULES


@pytest.mark.parametrize("kind", sorted(RULES))
def test_each_rule_stands_at_an_opset_that_changed_the_operator_or_renamed_it(kind: str) -> None:
    opsets = [opset for opset, _ in RULES[kind]]
    assert opsets == sorted(opsets, reverse=True)
    history = {s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == kind}
    # Before opset 11 axes count from the front, also of operators that kept their version.
    assert set(opsets) <= history | {11}
