import pytest

from modelkit.worker.death import examine

GIB = 1 << 30


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (-11, "was killed by SIGSEGV"),
        (-6, "was killed by SIGABRT"),
        (-60, "was killed by signal 60"),
        (3, "ended with exit code 3"),
        (0xC0000005, "ended with exit code 0xc0000005"),
    ],
)
def test_the_end_has_a_name(code: int, how: str) -> None:
    death = examine(code, "", 0, GIB)
    assert death.how == how
    assert death.why
    assert not death.out_of_memory


def test_what_the_library_said_is_the_reason() -> None:
    assert examine(-6, "Check failed: x > 0", 0, GIB).why == "Check failed: x > 0"


def test_a_kill_near_the_limit_is_lack_of_memory() -> None:
    assert examine(-9, "", int(0.95 * GIB), GIB).out_of_memory
    assert not examine(-9, "", int(0.5 * GIB), GIB).out_of_memory
    assert not examine(-11, "", int(0.95 * GIB), GIB).out_of_memory
    assert examine(-11, "", int(0.95 * GIB), GIB).crowded
    assert not examine(-11, "", int(0.5 * GIB), GIB).crowded
    assert "short of memory" in examine(-9, "", 0, GIB).why


def test_a_failed_allocation_is_lack_of_memory() -> None:
    assert examine(-6, "what():  std::bad_alloc", 0, GIB).out_of_memory
