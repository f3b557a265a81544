"""Verbs that misbehave, for the tests of the worker."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from modelkit import progress
from modelkit.errors import BadInput
from modelkit.reports import Change


def change(name: str) -> Change:
    progress.step("counting")
    progress.note("noted")
    print("noise on stdout")
    os.write(1, b"native noise\n")
    return Change(name, 3, ("a",))


def refuse() -> Change:
    raise BadInput("broken m.onnx", cause="why", hint="next")


def segfault() -> Change:
    progress.step("shape inference")
    ctypes.string_at(0)
    raise AssertionError("unreachable")


def abort() -> Change:
    print("what native code said", file=sys.stderr, flush=True)
    os.abort()


def sleep(seconds: float, path: str = "") -> Change:
    if path:
        progress.temporary(path)
        Path(path).write_text("half")
    progress.step("sleeping")
    time.sleep(seconds)
    return Change("slept", 1)


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


def bug() -> Change:
    progress.step("dividing")
    return Change("", 1 // 0)


def grandchild(path: str) -> Change:
    done = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(str(done.pid))
    progress.step("waiting")
    time.sleep(60)
    return Change("", 0)
