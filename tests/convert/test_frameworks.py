import importlib

from modelkit.convert.frameworks import FRAMEWORKS, convertible


def test_every_module_of_the_table_opens_models() -> None:
    for row in FRAMEWORKS.values():
        assert row.name and row.detects
        if row.module:
            assert callable(importlib.import_module(row.module).open_model)


def test_a_row_that_needs_a_library_names_its_extra() -> None:
    for row in FRAMEWORKS.values():
        assert bool(row.needs) == bool(row.extra)


def test_convertible_lists_only_rows_with_a_module() -> None:
    assert "TorchScript" in convertible()
    assert "CatBoost" not in convertible()
