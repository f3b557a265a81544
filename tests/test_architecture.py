"""The shape of the code: imports point down, and starting up loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from modelkit.cli.app import COMMANDS

PACKAGE = Path(__file__).parent.parent / "modelkit"

# Top to bottom; a file may import from its own entry and from those below it.
LAYERS = (
    ("cli",),
    ("doctor",),
    ("worker",),
    (
        "convert",
        "optimize",
        "precision",
        "quantize",
        "tune",
        "benchmark",
        "comparison",
        "inference",
        "inspection",
        "viewing",
    ),
    ("deliver",),
    ("passes",),
    ("fusions",),
    ("targets",),
    ("rewrite",),
    ("runtime",),
    ("model",),
    ("errors", "reports", "safe", "progress"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Importer, imported: a verb that reads another layer sideways, each with its reason.
EXCEPTIONS = {
    ("benchmark", "convert"),  # the source framework is one of the rows
    ("benchmark", "comparison"),  # quality stands beside speed
    ("quantize", "comparison"),  # candidates are judged as ``compare`` judges
    ("comparison", "convert"),  # one of the models may be the source framework's
}

# Library to the folders or files that may import it.
HOMES = {
    "rich": ("cli/show", "cli/render.py", "cli/page.py"),
    "typer": ("cli/",),
    "onnxruntime": ("runtime/",),
    "torch": ("convert/",),
    "transformers": ("convert/",),
}

NOT_AT_START = (
    "numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "pydantic", "torch", "tensorflow", "sklearn",
)  # fmt: skip

SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{path}: relative import")
    return found


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "modelkit" else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own not in RANK:
        assert own in ("__init__", "__main__"), f"{own} is missing from LAYERS"
        return
    for module in imports(path):
        other = layer(module)
        if other in RANK and other != own and (own, other) not in EXCEPTIONS:
            same = RANK[other] == RANK[own] and RANK[own] == len(LAYERS) - 1
            assert RANK[other] > RANK[own] or same, f"{own} imports {module}, which lies above it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_at_home(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for module in imports(path):
        homes = HOMES.get(module.split(".")[0])
        if homes:
            assert place.startswith(homes), f"{place} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, "split the file: a second thing lives in it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.body:
            assert node.end_lineno is not None
            body = node.end_lineno - node.body[0].lineno + 1
            assert body <= 60, f"{node.name} has {body} lines"


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_starting_up_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['modelkit', *{arguments!r}]\n"
        "from modelkit.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [n for n in {NOT_AT_START!r} if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "HEAVY []" in done.stdout


def test_every_file_has_a_test_of_the_same_path() -> None:
    tests = Path(__file__).parent
    missing = []
    for path in SOURCES:
        place = path.relative_to(PACKAGE)
        if place.stem in ("__init__", "__main__") or place.parts[0] == "reports":
            continue
        folder = tests / place.parent
        # The commands are tested as users type them, all in one file.
        command = place.parent.name == "cli" and place.stem.startswith(
            ("show", *COMMANDS, "execute", "render")
        )
        name = "test_commands.py" if command else f"test_{place.stem}.py"
        if not (folder / name).is_file():
            missing.append(str(place))
    assert not missing
