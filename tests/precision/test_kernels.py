import pytest

from modelkit.precision.kernels import TARGETS, without_kernel
from tests.precision.graphs import BF16, FP16


@pytest.mark.parametrize(
    ("kind", "half", "opset", "kept"),
    [
        ("MatMul", FP16, 17, False), ("MatMul", BF16, 17, False), ("RoiAlign", FP16, 17, True),
        ("Conv", BF16, 21, True), ("Conv", BF16, 22, False), ("Conv", FP16, 11, False),
        ("IsInf", FP16, 19, True), ("IsInf", FP16, 20, False), ("Pad", BF16, 22, True),
        ("Acos", FP16, 22, True),
    ],
)  # fmt: skip
def test_the_table_knows_operator_type_and_opset(
    kind: str, half: object, opset: int, kept: bool
) -> None:
    assert bool(without_kernel(kind, half, opset, "cuda")) is kept  # type: ignore[arg-type]


def test_tensorrt_has_kernels_of_its_own() -> None:
    assert "tensorrt" in TARGETS and without_kernel("RoiAlign", FP16, 17, "tensorrt") == ""
