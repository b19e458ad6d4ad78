"""Libraries imported without what a run of botctl has no use for: half of what they load would never be called.

While a library is imported, a stand-in takes the place of such a module; it is gone from ``sys.modules`` afterwards.
What was imported through it works all the same: the first use of anything that it lacks brings the real module.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

Known = dict[str, Any]


class StandIn(ModuleType):
    """A module with a few names of its own; all others are those of the real one."""

    def __init__(self, name: str, known: Known) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        """Load the real module, and be like it from now on."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = __import__(self.__name__, fromlist=["all"])
        vars(self).update({key: value for key, value in vars(real).items() if not key.startswith("__")})
        return getattr(real, name)


def load(library: str, stand_ins: dict[str, Known]) -> Any:
    """Import a library and return it; modules that are loaded already are left as they are."""
    placed = {}
    if library not in sys.modules:
        placed = {name: StandIn(name, known) for name, known in stand_ins.items() if name not in sys.modules}
        sys.modules.update(placed)
    try:
        return __import__(library)
    finally:
        for name, stand_in in placed.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def load_click() -> Any:
    """Return click, which inspects functions for their help alone, looks for translations, and takes UUIDs."""
    words: Known = {"gettext": str, "ngettext": lambda one, many, number: one if number == 1 else many}
    return load("click", {"inspect": {"cleandoc": cleandoc}, "uuid": {"UUID": object}, "gettext": words})


def load_zmq() -> Any:
    """Return zmq, which can send pickled objects, bind to random ports, and asks which Python this is."""
    python: Known = {"python_implementation": lambda: "PyPy" if sys.implementation.name == "pypy" else "CPython"}
    return load("zmq", {"pickle": {"DEFAULT_PROTOCOL": 4}, "random": {}, "platform": python})


def load_tabulate(ascii_only: bool = True) -> Any:
    """Return tabulate, which asks for its own version, takes dataclasses, wraps text and writes HTML, too.

    It gets a ruler for wide characters where there are any.
    """
    module = load(
        "tabulate",
        {
            "importlib.metadata": {"version": str, "PackageNotFoundError": ImportError},
            "dataclasses": {"is_dataclass": lambda value: False},
            "textwrap": {"TextWrapper": object},
            "html": {"escape": lambda text: __import__("html").escape(text)},
        },
    )
    module.MIN_PADDING = 0  # a header as wide as its title, not two characters more
    if not ascii_only:
        from botctl.fitting import display_width

        module.wcwidth, module.WIDE_CHARS_MODE = StandIn("wcwidth", {"wcswidth": display_width}), True
    return module


def cleandoc(text: str) -> str:
    """Return a docstring without the indentation of its code, and without empty lines around it."""
    first, *rest = text.expandtabs().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.lstrip(), *(line[margin:] for line in rest)]).strip("\n")
