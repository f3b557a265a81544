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
