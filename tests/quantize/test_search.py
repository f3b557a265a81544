from hypothesis import given
from hypothesis import strategies as st

from modelkit.quantize.search import fewest


@given(st.integers(1, 40), st.integers(0, 39))
def test_the_fewest_from_the_front_are_found_in_few_tries(count: int, needed: int) -> None:
    ranking = [f"l{i}" for i in range(count)]
    wanted = frozenset(ranking[:needed])
    tries: list[frozenset[str]] = []

    def meets(kept: frozenset[str]) -> bool:
        tries.append(kept)
        return wanted <= kept

    found = fewest(ranking, meets)
    assert found == (wanted if needed <= count else None) or wanted == frozenset(ranking)
    assert len(tries) <= 2 + count.bit_length() + 8


def test_a_ranking_that_errs_is_pruned() -> None:
    ranking = ["noisy but harmless", "second", "needed", "last"]
    assert fewest(ranking, lambda kept: "needed" in kept) == frozenset(["needed"])


def test_where_all_is_not_enough_there_is_none() -> None:
    assert fewest(["a", "b"], lambda kept: False) is None
    assert fewest([], lambda kept: False) is None
    assert fewest(["a"], lambda kept: True) == frozenset()
