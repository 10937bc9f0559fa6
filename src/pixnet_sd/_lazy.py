"""Load public names when they are first used (PEP 562). Knows nothing else.

A package says `__getattr__, __dir__, __all__ = lazy(__name__, {"name": "module"})`.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make `__getattr__`, `__dir__` and `__all__` of a package whose names are in the modules `homes`.

    A name whose home is itself is a submodule.
    """

    def get(name: str) -> Any:
        """Import the home of a name, and take the name from there."""
        if name not in homes:
            # With the name and the module the interpreter adds "Did you mean ...?" itself.
            missing = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(missing, name=name, obj=sys.modules[package])
        module = import_module(f"{package}.{homes[name]}")
        return module if homes[name] == name else getattr(module, name)

    def listing() -> list[str]:
        return sorted(homes)

    return get, listing, list(homes)
