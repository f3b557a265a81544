"""The child: ``python -m modelkit.worker``."""

from modelkit.worker.child import main

if __name__ == "__main__":
    main()
