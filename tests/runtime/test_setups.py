import pytest

from modelkit.errors import UsageError
from modelkit.runtime import session
from modelkit.runtime.session import Setup
from modelkit.runtime.setups import one_setup, setups


def test_a_setup_for_each_row() -> None:
    found = setups("cpu,tensorrt+cuda", {"threads": 3, "session_option": ["a.b=1=2"]})
    assert [[p.name for p in s.providers] for s in found] == [["cpu"], ["tensorrt", "cuda"]]
    assert {s.threads for s in found} == {3}
    assert found[0].session_options == {"a.b": "1=2"}


def test_one_model_runs_in_one_place() -> None:
    assert one_setup("cuda+cpu").providers[0].name == "cuda"
    with pytest.raises(UsageError, match="several rows"):
        one_setup("cpu,cuda")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_offload": 1.5}, "makes no sense"),
        ({"session_option": ["novalue"]}, "not key=value"),
        ({"trt_shape": ["x:1x2"]}, "not NAME:MIN,OPT,MAX"),
    ],
)
def test_words_that_make_no_sense(given: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        setups("cpu", given)  # type: ignore[arg-type]


def test_what_holds_for_the_process_reaches_its_first_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "_settled", {})
    key = "session.set_denormal_as_zero"
    setups("cpu", {"session_option": [f"{key}=1", "session.intra_op.allow_spinning=0"]})
    found = Setup()._options(None)
    assert found.get_session_config_entry(key) == "1"
    with pytest.raises(RuntimeError):
        found.get_session_config_entry("session.intra_op.allow_spinning")
