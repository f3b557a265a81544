from modelkit import progress


def test_messages_reach_the_listener_and_only_while_it_listens() -> None:
    heard: list[tuple[str, str]] = []
    progress.step("before")
    progress.listen(lambda kind, text: heard.append((kind, text)))
    try:
        progress.step("load")
        progress.note("a")
        progress.warn("b")
    finally:
        progress.listen(None)
    progress.step("after")
    assert heard == [("step", "load"), ("note", "a"), ("warning", "b")]


def test_notes_are_collected_once_and_passed_on() -> None:
    heard: list[tuple[str, str]] = []
    progress.listen(lambda kind, text: heard.append((kind, text)))
    try:
        with progress.collected() as notes:
            for text in ("a", "b", "a"):
                progress.note(text)
            progress.step("s")
        progress.note("a")
    finally:
        progress.listen(None)
    assert notes == ["a", "b"]
    assert heard == [("note", "a"), ("note", "b"), ("step", "s"), ("note", "a")]
