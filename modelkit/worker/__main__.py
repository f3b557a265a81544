"""The child: ``python -m modelkit.worker``.  Its first line of input is the module search path."""

import json
import sys

if __name__ == "__main__":
    # What the parent could import the child can, and nothing more: never the current folder,
    # where a downloaded model may have brought an `onnx.py` of its own.
    sys.path[:] = json.loads(sys.stdin.readline())
    from modelkit.worker.child import main

    main()
