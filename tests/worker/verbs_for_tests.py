"""Verbs that misbehave, for the tests of the worker."""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modelkit import progress
from modelkit.errors import BadInput, ProviderMissing
from modelkit.reports import Change


def change(name: str) -> Change:
    progress.step("counting")
    progress.note("noted")
    print("noise on stdout")
    os.write(1, b"native noise\n")
    return Change(name, 3, ("a",))


def refuse() -> Change:
    raise BadInput("broken m.onnx", cause="why", hint="next")


def fall_back(provider: str) -> Change:
    os.write(2, b"libcuda.so.1: cannot open shared object file\n")
    raise ProviderMissing(f"{provider} fell back")


def segfault(source: str = "m.onnx") -> Change:
    progress.step("shape inference")
    ctypes.string_at(0)
    raise AssertionError("unreachable")


def segfault_for_want_of_memory(held: int) -> Change:
    progress.step("eating")
    kept = bytearray(held)
    time.sleep(0.5)  # the parent looks
    ctypes.string_at(0)
    raise AssertionError(f"unreachable with {len(kept)} bytes")


def abort() -> Change:
    os.write(2, b"what native code said\n")
    os.abort()


def leave(code: int) -> Change:
    os._exit(code)


def sleep(seconds: float, path: str = "") -> Change:
    if path:
        progress.temporary(path)
        Path(path).write_text("half")
    (Path(tempfile.mkdtemp()) / "scratch").write_text("of a library")
    progress.step("sleeping")
    time.sleep(seconds)
    return Change("slept", 1)


def finish(path: str) -> Change:
    progress.temporary(path)
    Path(path).write_text("whole")
    progress.step("finishing")
    progress.settled(path)
    time.sleep(60)
    return Change("finished", 1)


def endless_loop(path: str) -> Change:
    import numpy as np
    import onnxruntime as ort

    session = ort.InferenceSession(path)
    progress.step("running")
    session.run(None, {"n": np.array(2**62), "c": np.array(True), "x": np.zeros(1, np.float32)})
    return Change("ran", 1)


def eat(gigabytes: float) -> Change:
    import numpy as np

    progress.step("eating")
    return Change("ate", int(np.ones(int(gigabytes * 2**30), np.uint8)[-1]))


def eat_together(gigabytes: float) -> Change:
    progress.step("eating together")
    code = f"import time; eaten = b'1' * int({gigabytes} * 2**30); time.sleep(60)"
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    for each in both:
        each.wait()
    return Change("ate", 2)


def reserve(gigabytes: float) -> Change:
    import mmap

    with mmap.mmap(-1, int(gigabytes * 2**30), prot=mmap.PROT_READ) as reserved:
        return Change("reserved", len(reserved))


def bug() -> Change:
    progress.step("dividing")
    return Change("", 1 // 0)


def no_json() -> Change:
    return Change("", {1, 2})  # type: ignore[arg-type]


def grandchild(path: str) -> Change:
    done = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(str(done.pid))
    progress.step("waiting")
    time.sleep(60)
    return Change("", 0)


def ask_stdin() -> Change:
    return Change(sys.stdin.read(), 0)


def search_path() -> Change:
    return Change("path", len(sys.path), tuple(sys.path))
