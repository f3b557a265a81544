from dataclasses import replace
from pathlib import Path

import pytest

from modelkit import targets
from modelkit.errors import BadInput, UsageError
from modelkit.fusions import load_fusions
from modelkit.optimize.choice import rewrites


@pytest.mark.parametrize("name", targets.names())
def test_every_row_is_a_rewrite_that_exists(name: str) -> None:
    known = {each.name for each in rewrites()}
    assert set(targets.load(name).ratios) <= known


def test_every_rewrite_has_a_row_on_the_cpu() -> None:
    """Those of level basic leave a kernel out and need none."""
    judged = {each.name for each in rewrites() if each.level != "basic"}
    for name in ("cpu", "cpu-2-threads"):
        assert set(targets.load(name).ratios) == judged


def test_slower_and_unmeasured_fusions_are_refused_with_the_reason() -> None:
    cpu, anywhere = targets.load("cpu"), targets.load("any")
    assert cpu.allows("gelu_erf") is None
    slow = replace(cpu, ratios={"gelu_erf": {"1x16": 1.2, "8x128": 0.93}})
    assert slow.allows("gelu_erf") == "it is slower on target cpu (0.93x at 8x128)"
    idle = replace(cpu, ratios={"gelu_erf": {"1x16": 0.99}})
    assert idle.allows("gelu_erf") == "it brings nothing on target cpu"
    assert anywhere.allows("silu") == "it was not measured on target any"


def test_only_large_gains_are_sure() -> None:
    ratios = {"silu": {"1x16": 1.3, "8x128": 1.05}, "mish": {"1": 5.2, "8": 4.1}}
    sure = replace(targets.load("cpu"), path=None, ratios=ratios).sure()
    reason = "it gains too little on target cpu to be sure (1.05x at 8x128)"
    assert (sure.allows("silu"), sure.allows("mish")) == (reason, None)
    anywhere = targets.load("any")
    assert anywhere.sure() == anywhere


def test_what_loses_on_more_threads_is_refused_only_when_they_count() -> None:
    cpu = targets.load("cpu")
    assert cpu.allows("narrow_conv1d_as_image") is None
    reason = cpu.threaded().allows("narrow_conv1d_as_image")
    assert reason is not None and reason.endswith(" on 2 threads)")
    assert cpu.sure().allows("narrow_conv1d_as_image") == reason
    assert cpu.threaded().allows("attention") is None
    alone = replace(cpu, path=None)
    assert alone.threaded() == alone


def test_a_table_of_more_threads_lies_beside_ones_own(tmp_path: Path) -> None:
    here = replace(targets.load("any"), ratios={"silu": {"1x16": 1.3}, "mish": {"": 2.0}})
    path = tmp_path / "cpu.toml"
    path.write_text(targets.text_of(here))
    assert targets.load(str(path)).threaded() == targets.load(str(path))
    more = replace(here, ratios={"silu": {"1x16": 0.7}, "mish": {"": 1.5}})
    (tmp_path / "cpu-2-threads.toml").write_text(targets.text_of(more))
    found = targets.load(str(path)).threaded()
    assert found.allows("silu") == "it is slower on target cpu (0.70x at 1x16 on 2 threads)"
    assert found.allows("mish") is None


def test_what_was_other_where_a_table_was_measured() -> None:
    cpu = replace(targets.load("cpu"), instructions="x86-64 avx512", runtime="1.31")
    assert cpu.elsewhere("x86-64 avx512", "1.31.1") == ""
    assert cpu.elsewhere("arm64", "1.31.0") == "x86-64 avx512, not arm64"
    both = "x86-64 avx512, not x86-64 avx2 and ONNX Runtime 1.31, not ONNX Runtime 1.30"
    assert cpu.elsewhere("x86-64 avx2", "1.30.2") == both
    assert targets.load("any").elsewhere("arm64", "1.20.0") == ""


def test_only_standard_operators_go_everywhere() -> None:
    levels = {fusion.name: fusion.level for fusion in load_fusions()}
    assert all(levels[name] == "extended" for name in targets.load("any").ratios)


def test_a_misspelt_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no target is called 'cdua'") as caught:
        targets.load("cdua")
    assert "'cuda'" in caught.value.hint


def test_a_table_of_ones_own_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(targets.text_of(targets.load("cpu")))
    assert replace(targets.load(str(path)), name="cpu") == targets.load("cpu")


@pytest.mark.parametrize("text", ["[fusions", "title = 1", "fusions = 3", "[fusions]\nsilu = [1]"])
def test_a_broken_table_is_bad_input(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"broken\.toml"):
        targets.load(str(path))


def test_a_missing_table_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        targets.load(str(tmp_path / "nothere.toml"))
