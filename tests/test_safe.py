import pytest

from modelkit.safe import LIMIT, safe


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain/name.0", "plain/name.0"),
        ("[/x]", "[/x]"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("line\nfeed\ttab\rreturn", "line\\x0afeed\\x09tab\\x0dreturn"),
        ("\ud800", "\\ud800"),
        ("\u2028\u200b", "\\u2028\\u200b"),
        ("naïve 模型", "naïve 模型"),
    ],
)
def test_what_terminals_and_eyes_act_on_is_escaped(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


def test_a_megabyte_name_is_cut_and_its_length_told() -> None:
    shown = safe("x" * 1_000_000)
    assert len(shown) < LIMIT + 40
    assert shown.endswith("... (1000000 characters)")


def test_the_result_is_always_printable() -> None:
    everything = "".join(map(chr, range(0x3000)))
    shown = safe(everything, limit=0x3000)
    assert shown.isprintable()
