"""``python -m modelkit`` is the same as ``modelkit``."""

from modelkit.cli import main

if __name__ == "__main__":
    main()
