"""tabulate, imported without what it does not need here: it asks importlib.metadata for its own version, which
takes as long as everything else a table costs. While tabulate is imported, a stand-in answers that one question.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_NAME = "importlib.metadata"


def load() -> Any:
    """Return the module tabulate; the stand-in is gone afterwards."""
    if "tabulate" not in sys.modules and _NAME not in sys.modules:
        stand_in: Any = ModuleType(_NAME)
        stand_in.version = lambda name: ""
        stand_in.PackageNotFoundError = ImportError
        sys.modules[_NAME] = stand_in
        try:
            import tabulate
        except ImportError:
            pass  # a version that wants more of it: imported in full below
        finally:
            del sys.modules[_NAME]
    import tabulate

    tabulate.MIN_PADDING = 0  # a header as wide as its title, not two characters more
    return tabulate
