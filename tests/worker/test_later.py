import subprocess
import sys

HELD = "import sys\nfrom modelkit.worker.later import put_off\nput_off()\nput_off()\n"


def told(program: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", HELD + program], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_optimize_needs_no_algebra() -> None:
    program = "import modelkit.optimize\nprint([m for m in sys.modules if m.startswith('sympy.')])"
    assert told(program) == "[]"


def test_what_was_put_off_is_there_when_used() -> None:
    assert told("import sympy\nprint(sympy.Max(1, 2), sympy.core.__name__)") == "2 sympy.core"
    assert told("from sympy.core import Symbol\nprint(Symbol('n') + 1)") == "n + 1"
    assert told("import onnx_ir as ir\nprint(ir.SymbolicDim('n') + 1)") == "n + 1"


def test_one_finder_is_enough() -> None:
    count = "print(sum(type(f).__name__ == '_Later' for f in sys.meta_path))"
    assert told(count) == "1"
