import pytest

from modelkit.errors import UsageError
from modelkit.optimize.choice import ALWAYS, Choice, describe, rewrites


def test_only_and_skip_go_by_name_and_symbols_are_always_inferred() -> None:
    choice = Choice(only=("gelu_erf", "fold_constants"), skip=("fold_constants",))
    taken = [name for name in describe() if choice.takes(name)]
    assert taken == [ALWAYS, "gelu_erf"]


def test_the_list_has_what_each_does_and_where_it_belongs() -> None:
    found = {each.name: each for each in rewrites()}
    assert (found["fold_constants"].kind, found["fold_constants"].level) == ("pass", "basic")
    assert (found["gelu_erf"].kind, found["gelu_erf"].level) == ("fusion", "extended")
    assert found["conv_batch_normalization"].level == "basic"
    assert found["remove_identity"].line.startswith("Remove Identity, Dropout at inference")
    assert all(each.line for each in found.values())


@pytest.mark.parametrize(
    ("runtime", "limits"), [("", (26, None)), ("ort==1.17", (20, 9)), ("ort==1.16.3", (19, 9))]
)
def test_a_runtime_limits_opset_and_ir_version(
    runtime: str, limits: tuple[int, int | None]
) -> None:
    assert Choice(runtime=runtime).limits() == limits


@pytest.mark.parametrize("runtime", ["ort", "ort>=1.17", "ort==0.5", "trt==8.6"])
def test_unknown_runtimes_are_usage_errors(runtime: str) -> None:
    with pytest.raises(UsageError, match="no runtime modelkit knows"):
        Choice(runtime=runtime)


def test_opsets_that_cannot_be_written_are_usage_errors() -> None:
    for opset in (6, 27):
        with pytest.raises(UsageError, match=f"--opset {opset} cannot be written"):
            Choice(opset=opset)
    with pytest.raises(UsageError) as caught:
        Choice(opset=21, runtime="ort==1.17")
    assert caught.value.hint == "choose 7 to 20 for ort==1.17"
