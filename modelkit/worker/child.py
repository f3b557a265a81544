"""What the child does: take limits, run one verb, answer in JSON lines.

The answers go to a descriptor of their own; descriptors 1 and 2 are the log, because native code
prints where it likes.  Each line is a pair, kind and value: the kinds of ``progress``, then one
last ``report``, ``error`` (fields of a ModelkitError), ``memory`` or ``bug`` (a text).
"""

import faulthandler
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
from typing import Any

from modelkit import progress, reports
from modelkit.errors import ModelkitError
from modelkit.worker import limits
from modelkit.worker.later import put_off
from modelkit.worker.log import tells_out_of_memory


def main() -> None:
    """Read the request from stdin, answer on the descriptor that was stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)
    faulthandler.enable(file=2, all_threads=False)
    request = json.loads(sys.stdin.readline())
    limits.die_with_parent(request["parent"], _lifeline())
    limits.apply(request["memory_limit"])
    tempfile.tempdir = request["scratch"]

    def say(kind: str, value: Any) -> None:
        answers.write(_line(kind, value))

    # Graphs of a hundred thousand nodes are cycles that live to the end; looking through them again
    # and again takes as long as the work.
    gc.set_threshold(100_000, 50, 50)
    put_off()
    progress.listen(say)
    answers.write(_last_line(request))
    answers.flush()
    # Native libraries may hang or crash in their clean-up; the answer is out.
    os._exit(0)


def _lifeline() -> int:
    """The pipe that ends with the parent, moved out of the way of code that reads stdin."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def _last_line(request: dict[str, Any]) -> str:
    try:
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        return _line("report", reports.to_json(function(**request["arguments"])))
    except ModelkitError as error:
        return _line("error", error.fields())
    except MemoryError:
        return _line("memory", "")
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        traceback.print_exc()
        return _line("memory" if tells_out_of_memory(text) else "bug", text)


def _line(kind: str, value: Any) -> str:
    return json.dumps([kind, value]) + "\n"
