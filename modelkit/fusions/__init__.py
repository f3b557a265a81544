"""The fusion library: one file is one fusion, and the folder is the registry."""

import importlib
import pkgutil
from functools import cache

from modelkit.rewrite import Fusion, read_fusion


@cache
def load_fusions() -> tuple[Fusion, ...]:
    """Every fusion of this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(read_fusion(importlib.import_module(f"{__name__}.{name}")) for name in names)
