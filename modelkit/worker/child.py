"""What the child does: take limits, run one verb, answer in JSON lines.

The answers go to a descriptor of their own; descriptors 1 and 2 are the log, because native code
prints where it likes.
"""

import faulthandler
import importlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

from modelkit import progress, reports
from modelkit.errors import ModelkitError, OutOfMemory
from modelkit.worker import limits

# What native libraries say when the limit refuses them memory.
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory", "Cannot allocate")


def main() -> None:
    """Read the request from stdin, answer on the descriptor that was stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)
    faulthandler.enable(file=2, all_threads=False)
    request = json.loads(sys.stdin.readline())
    limits.die_with_parent(request["parent"])
    limits.apply(request["memory_limit"])
    progress.listen(lambda kind, text: _say(answers, kind, text))
    _say(answers, *_outcome(request))
    answers.flush()
    # Native libraries may hang or crash in their clean-up; the answer is out.
    os._exit(0)


def _outcome(request: dict[str, Any]) -> tuple[str, Any]:
    try:
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        return "report", reports.to_json(function(**request["arguments"]))
    except ModelkitError as error:
        return "error", error.fields()
    except MemoryError:
        return "error", OutOfMemory("the memory limit was reached").fields()
    except Exception as error:
        trace = traceback.format_exc()
        print(trace, file=sys.stderr, flush=True)
        if any(sign in trace for sign in OUT_OF_MEMORY):
            return "error", OutOfMemory("the memory limit was reached").fields()
        return "bug", f"{type(error).__name__}: {error}"


def _say(answers: TextIO, kind: str, value: Any) -> None:
    answers.write(json.dumps([kind, value]) + "\n")
