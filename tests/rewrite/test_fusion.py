import pytest

from modelkit.fusions import load_fusions


@pytest.mark.parametrize("fusion", load_fusions(), ids=lambda fusion: fusion.name)
def test_every_fusion_says_what_why_and_when_equal(fusion: object) -> None:
    doc = getattr(fusion, "doc", "")
    assert doc.splitlines()[0].endswith(".")
    assert "Why:" in doc
    assert "Equal:" in doc


def test_the_folder_is_the_registry_and_levels_are_known() -> None:
    names = [fusion.name for fusion in load_fusions()]
    assert names == sorted(names)
    assert {fusion.level for fusion in load_fusions()} == {"basic", "extended", "all"}
    assert all(fusion.size >= 1 for fusion in load_fusions())
