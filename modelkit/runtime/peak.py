"""How much memory one model takes, measured in a process of its own.

Inside a process that has run other models the figure would be theirs too.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from modelkit.runtime.session import Feeds, custom_ops_in_use, open_session, use_custom_ops

_SECONDS = 300.0


def peak_of(model: Path, feeds: Feeds) -> int:
    """Bytes of resident memory that opening ``model`` and one run add at their peak.

    0 where the system does not tell, or where the child did not finish.
    """
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        kept = Path(folder) / "feeds.npz"
        np.savez(kept, allow_pickle=False, **feeds)
        command = [sys.executable, "-P", "-m", "modelkit.runtime.peak", str(model), str(kept)]
        command += custom_ops_in_use()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return 0
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdecimal() else 0


def _status(key: str) -> int:
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    lines = status.read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)


def main() -> None:
    """Open and run the model named on the command line; print what it took."""
    with np.load(sys.argv[2], allow_pickle=False) as arrays:
        feeds = {name: arrays[name] for name in arrays.files}
    use_custom_ops(sys.argv[3:])
    before = _status("VmRSS:")
    with open_session(Path(sys.argv[1])) as session:
        session.run(feeds)
    print(max(0, _status("VmHWM:") - before))


if __name__ == "__main__":
    main()
