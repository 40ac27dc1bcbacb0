"""uvicorn's server without its command line: the package's own `__init__` loads click and the reloader, a third of a
start that has 0.6 s in all. Here the package is entered by its modules alone; whoever imported it before keeps it.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from types import ModuleType

if "uvicorn" not in sys.modules:
    _spec = PathFinder.find_spec("uvicorn")
    assert _spec is not None and _spec.submodule_search_locations is not None, "uvicorn is a dependency"
    _package = ModuleType("uvicorn")
    _package.__spec__ = _spec
    _package.__path__ = list(_spec.submodule_search_locations)
    sys.modules["uvicorn"] = _package

from uvicorn.config import Config
from uvicorn.server import Server

sys.modules["uvicorn"].__dict__.setdefault("Config", Config)  # what uvicorn's own modules ask the package for
sys.modules["uvicorn"].__dict__.setdefault("Server", Server)

__all__ = ["Config", "Server"]
