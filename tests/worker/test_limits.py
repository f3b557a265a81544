import os

from modelkit.worker import limits


def test_the_default_is_four_gigabytes_or_three_models_within_the_machine() -> None:
    present = limits.machine_memory()
    assert present > 0
    assert limits.default_limit(0) == min(4 << 30, int(present * 0.8))
    assert limits.default_limit(1 << 50) == int(present * 0.8)


def test_own_memory_is_counted() -> None:
    before = limits.anonymous_bytes(os.getpid())
    ballast = bytearray(64 << 20)
    for place in range(0, len(ballast), 4096):
        ballast[place] = 1
    grown = limits.anonymous_bytes(os.getpid()) - before
    assert 48 << 20 < grown < 96 << 20


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert limits.anonymous_bytes(2**22 + 1) == 0
