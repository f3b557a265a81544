from dataclasses import replace

import pytest

from modelkit import targets
from modelkit.errors import UsageError
from modelkit.fusions import load_fusions


@pytest.mark.parametrize("name", targets.names())
def test_every_row_is_a_fusion_that_exists(name: str) -> None:
    known = {fusion.name for fusion in load_fusions()}
    assert set(targets.load(name).ratios) <= known


def test_every_fusion_has_a_row_on_the_cpu() -> None:
    """Those of level basic leave a kernel out and need none."""
    judged = {fusion.name for fusion in load_fusions() if fusion.level != "basic"}
    assert set(targets.load("cpu").ratios) == judged


def test_slower_and_unmeasured_fusions_are_refused_with_the_reason() -> None:
    cpu, anywhere = targets.load("cpu"), targets.load("any")
    assert cpu.allows("gelu_erf") is None
    slow = replace(cpu, ratios={"gelu_erf": 0.93})
    assert slow.allows("gelu_erf") == "it is slower on target cpu (0.93x)"
    assert anywhere.allows("silu") == "it was not measured on target any"


def test_only_standard_operators_go_everywhere() -> None:
    levels = {fusion.name: fusion.level for fusion in load_fusions()}
    assert all(levels[name] == "extended" for name in targets.load("any").ratios)


def test_a_misspelt_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no target is called 'cdua'") as caught:
        targets.load("cdua")
    assert "'cuda'" in caught.value.hint
