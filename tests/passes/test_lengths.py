import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lengths import behind_scalars, is_length
from tests.passes.harness import model_of

TEXT = """<ir_version: 10, opset_import: ["": 18]>
g (float[n, s, 3] x) => (int64[k] y)
<int64 zero = {0}, int64 two = {2}, int64[1] a = {1}, int64[1] b = {2}, int64[1] c = {3}> {
  sizes = Shape(x) whole = Cast<to = 6>(sizes)
  by_gather = Gather(sizes, two)
  by_slice = Slice(whole, a, b) by_slices = Slice(whole, a, c) squeezed = Squeeze(by_slice)
  by_start = Shape<start = 1, end = 2>(x) by_rest = Shape<start = 1>(x)
  parts = Concat<axis = 0>(by_start, a, by_start) of_parts = Gather(parts, two)
  of_others = Gather(parts, zero) first = Gather(sizes, zero) three = Identity(c) more = Add(first, two) y = Identity(sizes)
}"""


@pytest.mark.parametrize(
    ("name", "axis"),
    [("by_gather", 2), ("by_slice", 1), ("squeezed", 1), ("by_start", 1), ("first", 0),
     ("of_parts", 1), ("of_others", 1),
     ("three", 2), ("by_slices", None), ("by_rest", None), ("more", None), ("sizes", None)],
)  # fmt: skip
def test_numbers_that_are_lengths(name: str, axis: int | None) -> None:
    model = model_of(TEXT)
    infer_symbols(model)
    (number,) = [v for node in model.graph for v in node.outputs if v.name == name]
    shape = model.graph.inputs[0].shape
    assert shape is not None
    assert [place for place in range(3) if is_length(number, shape[place])] == (
        [] if axis is None else [axis]
    )


def test_scalars_behind_changes_of_shape_and_type() -> None:
    model = model_of(TEXT)
    (squeezed,) = [v for node in model.graph for v in node.outputs if v.name == "squeezed"]
    found = behind_scalars(squeezed)
    assert found is not None
    assert found.name == "by_slice"
