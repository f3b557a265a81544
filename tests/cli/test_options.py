import pytest

from modelkit.cli.options import byte_count, dims, listed
from modelkit.errors import UsageError


def test_dims() -> None:
    assert dims(None) == {}
    assert dims(["batch=1", "seq=128"]) == {"batch": 1, "seq": 128}


@pytest.mark.parametrize("pair", ["batch", "=1", "batch=", "batch=-1", "batch=x", "batch=1.5"])
def test_a_bad_dim_says_how_to_write_it(pair: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=LENGTH") as caught:
        dims([pair])
    assert "--dim batch=1" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 2**30), ("4g", 4 * 2**30), ("1.5GiB", 3 * 2**29), ("512M", 2**29), ("99", 99)],
)
def test_byte_count(text: str, size: int) -> None:
    assert byte_count(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "0", "many", "1e400", "4PB"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        byte_count(text)


def test_no_limit_is_none() -> None:
    assert byte_count(None) is None


def test_names_may_be_repeated_or_stand_together() -> None:
    assert listed(["silu,mish", "elu"]) == ["silu", "mish", "elu"]
    assert listed(None) == []
