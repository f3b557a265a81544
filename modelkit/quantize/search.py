"""The fewest layers that must not be quantized for a goal to be met."""

from collections.abc import Callable, Sequence

_PRUNABLE = 8

Meets = Callable[[frozenset[str]], bool]


def fewest(ranking: Sequence[str], meets: Meets) -> frozenset[str] | None:
    """A small part of ``ranking`` (the most sensitive first) with which ``meets`` holds.

    None if even all of it is not enough.  The number is found by halving, as if more were never
    worse; of eight or fewer each is then tried without, because a ranking by each layer's own
    error is a little wrong.
    """
    if meets(frozenset()):
        return frozenset()
    if not ranking or not meets(frozenset(ranking)):
        return None
    low, high = 0, len(ranking)  # low misses, high meets
    while high - low > 1:
        middle = (low + high) // 2
        if meets(frozenset(ranking[:middle])):
            high = middle
        else:
            low = middle
    found = frozenset(ranking[:high])
    if len(found) > _PRUNABLE:
        return found
    # The last one was needed, or the number would be smaller.
    for name in reversed(ranking[: high - 1]):
        if meets(found - {name}):
            found -= {name}
    return found
