"""Modules that are imported when they are first used, not when another module names them.

``onnx_ir`` names sympy for arithmetic on symbolic dimensions, which modelkit does by itself: a
third of a second for nothing in every verb.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

_NAMES = frozenset(("sympy", "onnx_ir._symbolic_shapes"))


class _Later(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module to put off; None leaves it to the other finders."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _NAMES else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def put_off() -> None:
    """From now on import the modules of the list at their first use; once is enough."""
    if not any(isinstance(finder, _Later) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Later())
