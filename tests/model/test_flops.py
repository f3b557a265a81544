import pytest

from modelkit.model.flops import flops


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "expected"),
    [
        ("MatMul", [(2, 3, 4), (4, 5)], [(2, 3, 5)], 2 * 2 * 3 * 4 * 5),
        ("MatMul", [(3, 4)], [(3, 5)], 2 * 3 * 4 * 5),  # the weight is packed away
        ("Gemm", [(4, 3), (4, 5)], [(3, 5)], 2 * 3 * 4 * 5),  # transA
        ("MatMulIntegerToFloat", [(3, 4), (4, 5)], [(3, 5)], 120),
        ("Conv", [(1, 8, 10, 10), (16, 4, 3, 3)], [(1, 16, 8, 8)], 2 * 16 * 64 * 36),
        ("QLinearConv", [(1, 8, 9, 9), (), (), (16, 8, 1, 1)], [(1, 16, 9, 9)], 2 * 16 * 81 * 8),
        ("ConvTranspose", [(1, 8, 4, 4), (8, 2, 3, 3)], [(1, 2, 6, 6)], 2 * 128 * 18),
        ("LSTM", [(7, 2, 3), (1, 16, 3), (1, 16, 4)], [(7, 1, 2, 4)], 2 * 14 * (48 + 64)),
        ("Attention", [(1, 2, 5, 8), (1, 2, 9, 8), (1, 2, 9, 8)], [(1, 2, 5, 8)], 4 * 80 * 9),
        ("Attention", [(1, 5, 8), (8, 24)], [(1, 5, 8)], 2 * 5 * 192 + 4 * 25 * 8),
        ("Add", [(2, 3), (3,)], [(2, 3)], 6),
        ("ReduceSum", [(2, 30)], [(2, 1)], 60),
        ("Softmax", [(2, 3)], [(2, 3)], 30),
        ("Reshape", [(2, 3)], [(6,)], 0),
        ("MatMul", [None, (4, 5)], [(3, 5)], 0),
        ("Neg", [], [], 0),
    ],
)
def test_counts_by_hand(op: str, inputs: list, outputs: list, expected: int) -> None:
    assert flops(op, inputs, outputs) == expected


def test_einsum_by_its_equation() -> None:
    assert flops("Einsum", [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], "bij,bjk->bik") == 240
    assert flops("Einsum", [(2, 3)], [(2, 3)], "...j->...j") == 0
