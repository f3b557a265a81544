import pytest

from modelkit.runtime.signatures import computes_in, signature


def test_versions_differ() -> None:
    old, new = signature("", "Conv", 21), signature("", "Conv", 22)
    assert old is not None and new is not None
    assert "tensor(bfloat16)" in new.inputs[0].types - old.inputs[0].types
    assert signature("ai.onnx", "Conv", 22) == new


def test_the_runtimes_own_operators_are_known() -> None:
    found = signature("com.microsoft", "FusedMatMul", 1)
    assert found is not None and "tensor(float16)" in found.inputs[0].types
    assert found.inputs[0].variable == found.outputs[0].variable


@pytest.mark.parametrize(
    ("domain", "kind", "version"), [("", "Nothing", 17), ("mine", "Add", 1), ("", "Gelu", 19)]
)
def test_what_nobody_knows_is_none(domain: str, kind: str, version: int) -> None:
    assert signature(domain, kind, version) is None


def test_variadic_parameters_stand_for_all_that_follow() -> None:
    concat, loop = signature("", "Concat", 17), signature("", "Loop", 17)
    assert concat is not None and loop is not None
    assert concat.input(9) == concat.input(0) and concat.input(0) is not None
    assert loop.output(3) is not None and not loop.outputs[0].uniform
    split = signature("", "Relu", 17)
    assert split is not None and split.input(1) is None


def test_kernels_of_this_build_are_asked() -> None:
    assert computes_in("MatMul", "tensor(float)", "CPUExecutionProvider")
    assert not computes_in("MatMul", "tensor(float)", "NoExecutionProvider")
    assert not computes_in("MatMul", "tensor(string)")
