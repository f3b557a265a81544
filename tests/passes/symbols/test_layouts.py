import pytest

from tests.passes.symbols.test_shapes import shape_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("r = Transpose<perm = [2, 0, 1]>(x)", "[12,batch,seq]"),
        ("r = Transpose(x)", "[12,seq,batch]"),
        ("r = Reshape(x, flat)", "[batch,2*seq,6]"),
        ("r = Reshape(x, merge)", "[batch*seq,12]"),
        ("r = Flatten(x)", "[batch,12*seq]"),
        ("r = Flatten<axis = -1>(x)", "[batch*seq,12]"),
        ("r = Unsqueeze(x, two)", "[batch,1,1,seq,12]"),
        ('r = Einsum<equation = "bsd,btd->bts">(x, x)', "[batch,seq,seq]"),
        ('r = Einsum<equation = "...d->d...">(x)', "[12,batch,seq]"),
        ('r = Einsum<equation = "bsd,cd->bc">(x, x)', "None"),
        ("u = Unsqueeze(x, two)\nr = Squeeze(u, v1)", "[batch,1,seq,12]"),
    ],
)
def test_layouts(line: str, expected: str) -> None:
    assert shape_of(line) == expected


def test_a_reshape_that_cannot_be_told_gets_a_fresh_name() -> None:
    assert shape_of("odd = Constant<value_ints = [-1, 7]>()\nr = Reshape(x, odd)") == "[unk_0,7]"


def test_axes_out_of_range_say_nothing() -> None:
    assert shape_of("far = Constant<value_ints = [7]>()\nr = Squeeze(x, far)") == "None"
