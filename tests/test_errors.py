import pytest

from modelkit import errors
from modelkit.errors import KINDS, BadInput, MissingExtra, ModelkitError, from_fields


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {name: kind.exit_code for name, kind in KINDS.items()}
    assert codes == {
        "ModelkitError": 1,
        "CheckFailed": 1,
        "UsageError": 2,
        "BadInput": 3,
        "Unsupported": 4,
        "ProviderMissing": 5,
        "WorkerCrashed": 6,
        "TimedOut": 7,
        "OutOfMemory": 8,
        "CannotWrite": 9,
    }


@pytest.mark.parametrize("kind", KINDS.values())
def test_an_error_survives_the_pipe(kind: type[ModelkitError]) -> None:
    error = kind("what", cause="why", hint="next", code="some-code")
    again = from_fields(error.fields())
    assert type(again) is kind
    assert again.fields() == error.fields()


def test_a_missing_extra_names_what_to_install_and_exits_4() -> None:
    error = from_fields(MissingExtra("converting TensorFlow models", "tf").fields())
    assert error.exit_code == 4
    assert error.code == "missing-extra"
    assert "'tf' extra" in error.message
    assert error.hint == 'pip install "modelkit[tf]"'


def test_an_unknown_kind_is_still_an_error() -> None:
    error = from_fields({"kind": "FromTheFuture", "message": "m"})
    assert type(error) is ModelkitError
    assert error.message == "m"


def test_every_kind_of_the_module_can_be_rebuilt() -> None:
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ModelkitError)
    }
    assert kinds - {"MissingExtra"} == set(KINDS)
    assert BadInput("x").code == "bad-input"
