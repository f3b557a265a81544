import dataclasses

import pytest

from modelkit.passes.changes import Changes


def test_changes_start_empty_and_cannot_be_edited() -> None:
    nothing = Changes()
    assert (nothing.count, nothing.notes) == (0, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        nothing.count = 1  # type: ignore[misc]
