import pytest

from modelkit.model import InputSpec
from modelkit.runtime.hypotheses import Hypothesis, fits, shapes_of, tries, usual_lengths

Shape = tuple[int | str, ...]


def spec(*shape: int | str, name: str = "x", role: str = "float") -> InputSpec:
    return InputSpec(name, "float32", shape, role)


def named(name: str, specs: tuple[InputSpec, ...]) -> Hypothesis:
    return next(each for _, each in tries(specs, ()) if each.name == name)


def shapes(
    specs: tuple[InputSpec, ...], hypothesis: Hypothesis, number: int = 0
) -> dict[str, tuple[int, ...]]:
    return dict(shapes_of(specs, hypothesis, {}, number))


def test_sides_of_pyramids_halve_six_times_and_differ() -> None:
    specs = (spec("n", 3, "h", "w", role="pixels"),)
    for number in range(2):
        _, _, height, width = shapes(specs, named("sides of whole pyramids", specs), number)["x"]
        assert (height % 64, width % 64) == (0, 0)
        assert height != width


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (spec(2, "b", 128, name="h0"), (2, 3, 128)),
        (spec(1, "b", 128, name="hidden_state"), (1, 3, 128)),
        (spec(1, "t", 80, name="features"), (1, 10, 80)),
        (spec(2, "n", 64, name="c"), (2, 3, 64)),
    ],
)
def test_the_second_axis_of_a_state_is_the_batch(
    state: InputSpec, expected: tuple[int, ...]
) -> None:
    specs = (spec("n", "t", name="sound"), state)
    assert shapes(specs, Hypothesis("states", True, states=True), 1)[state.name] == expected


def test_sound_is_tried_for_one_open_length_only() -> None:
    def has(*specs: InputSpec) -> bool:
        return any(each.sound for _, each in tries(specs, ()))

    assert has(spec("n", "samples"))
    assert has(spec("samples"))
    assert has(spec("n", 1, "samples"))
    assert has(spec("n", "bases", 4))
    assert not has(spec("n", "frames", 80))
    assert not has(spec("n", "t", role="ids"))
    assert not has(spec("n", "a", "b"))
    longest = usual_lengths((spec("n", "samples"),), cached=False)[-1]
    assert shapes((spec("n", "samples"),), longest)["x"] == (1, 16000)


def test_batches_of_one_and_of_four_come_last() -> None:
    specs = (spec("n", "t"),)
    *batches, last = [shapes(specs, each, 1)["x"][0] for _, each in tries(specs, ())]
    assert set(batches) == {1, 3}
    assert batches == sorted(batches, reverse=True)
    assert last == 8


def test_a_number_told_from_one_other_is_tried_as_both() -> None:
    rate = InputSpec("sr", "int64", (), "ids", choices=(16000,))
    both = [specs[0].choices for specs, _ in tries((rate,), ())]
    assert both[:2] == [(16000, 8000), (16000,)]
    known = InputSpec("sr", "int64", (), "ids", choices=(8000, 16000))
    assert {specs[0].choices for specs, _ in tries((known,), ())} == {(8000, 16000)}


def test_inputs_as_large_as_memory_are_not_tried() -> None:
    long = Hypothesis("long", True, lengths=({"batch": 1, "other": 16000, "past": 1},))
    assert fits((spec("n", "t"),), long, {}, 2)
    assert not fits((spec("n", "a", "b"),), long, {}, 2)
    assert fits((spec("n", 3, 8192, 8192),), long, {}, 2)  # a fixed side is the model's own
    assert fits((spec("n", "a", "b"),), long, {"a": 16000}, 2)
