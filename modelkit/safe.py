"""Make a string that came out of a model harmless before a person or another program sees it."""

LIMIT = 200


def safe(text: str, limit: int = LIMIT) -> str:
    r"""Return ``text`` with control, bidi and surrogate characters written as escapes, cut short.

    Terminals act on C0/C1 controls (ESC, OSC 52, 0x9b), people are misled by bidirectional
    overrides, and a megabyte name hides the rest of a message.  Escapes are ``\xNN`` or ``\uNNNN``.

    Args:
        text: any string, also one with lone surrogates.
        limit: longest result in characters, before the note that says how much was cut.
    """
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(_escaped(character) for character in shown)
    if len(text) > limit:
        shown += f"... ({len(text)} characters)"
    return shown


def _escaped(character: str) -> str:
    # Not printable: controls, bidi and zero-width formats, surrogates, separators but the space.
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
