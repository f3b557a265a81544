"""An environment of its own for each peer, made from ``peers.txt`` the first time it is asked for."""

import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).with_name("peers.txt")
_PIP_SECONDS = 900


class PeerMissing(Exception):
    """A peer's environment could not be made; the text says why."""


def pinned(text: str) -> dict[str, list[str]]:
    """Name of an environment to its exact requirements; lines from # on are comments.

    Raises:
        ValueError: a line without a name, or a requirement without an exact version.
    """
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        row = line.split("#")[0].strip()
        if not row:
            continue
        name, colon, rest = row.partition(":")
        if not colon or any("==" not in requirement for requirement in rest.split()):
            raise ValueError(f"not 'name: package==version ...': {line}")
        found[name.strip()] = rest.split()
    return found


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of environment ``name`` below ``folder``, installed if it is not yet.

    Raises:
        PeerMissing: it could not be made; the last line of pip's complaint is the text.
    """
    requirements = pinned(PEERS.read_text())[name]
    home = folder / name
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp, wanted = home / ".installed", "\n".join(requirements)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    stamp.unlink(missing_ok=True)
    print(f"installing {name} ...", file=sys.stderr, flush=True)
    _call([sys.executable, "-m", "venv", str(home)], name)
    quiet = ["--quiet", "--disable-pip-version-check"]
    _call([str(python), "-m", "pip", "install", *quiet, *requirements], name)
    stamp.write_text(wanted)
    return python


def _call(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired:
        raise PeerMissing(f"environment {name}: no answer in {_PIP_SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("ERROR")), "".join(lines[-1:]))
        raise PeerMissing(f"environment {name}: {reason}")
