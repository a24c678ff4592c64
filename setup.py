"""
Compile the path of the bridge with mypyc, where there is a C compiler.

Everything else is in setup.cfg.  The sources are the same with and without it; an
editable install is never compiled, since its sources change.  CROCBOT_COMPILE=no turns
it off, CROCBOT_COMPILE=yes makes a failure an error.  docs/adr/0013 has the figures.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MYPYC = "mypy>=2.4,<3"

BRIDGE = Path("statsd_bridge")
COMPILED = [
    "memory.py",
    "model.py",
    "syntax.py",
    "line.py",
    "pipeline.py",
    "debug.py",
    "datagram/lines.py",
    "exposition/*.py",
    "fastpath/*.py",
    "mapping/glob.py",
    "mapping/rule.py",
    "mapping/table.py",
    "mapping/template.py",
    "series/*.py",
]
"""All that a line and a page pass."""

INTERPRETED = ["exposition/self_metrics.py", "fastpath/buffers.py"]
"""Subclasses of a library's class and of list, which mypyc does not compile."""


class OptionalBuild(build_ext):
    """Build all extensions, or none."""

    def run(self) -> None:
        """Without a working compiler the package stays as it is: plain Python."""
        try:
            super().run()
        except Exception as error:
            if is_required():
                raise
            print(f"not compiled: {error}", file=sys.stderr)
            self.extensions = []
            for file in Path(self.build_lib).rglob("*mypyc*"):
                file.unlink()
            for name in self._module_names():
                for file in Path(self.build_lib).glob(f"{name}.*.so"):
                    file.unlink()

    def _module_names(self) -> list[str]:
        return [source.removesuffix(".py") for source in sources()]


def is_required() -> bool:
    """Return whether a package that is not compiled would be an error."""
    return os.environ.get("CROCBOT_COMPILE") == "yes"


def is_wanted() -> bool:
    """Return whether this command makes a package, and can compile it."""
    if is_required():
        return True
    if os.environ.get("CROCBOT_COMPILE") == "no" or "editable_wheel" in sys.argv:
        return False
    return any(map(shutil.which, ("cc", "gcc", "clang")))


def sources() -> list[str]:
    """Return the modules that are compiled."""
    files = {file for pattern in COMPILED for file in BRIDGE.glob(pattern)}
    return sorted(map(str, files - {BRIDGE / name for name in INTERPRETED}))


def extensions() -> list[Extension]:
    """Translate the modules to C; none if mypyc is not there."""
    if not is_wanted() or "egg_info" in sys.argv or "dist_info" in sys.argv:
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        if is_required():
            raise
        return []
    # The types of libraries are not there in an isolated build, nor needed.
    options = ["--config-file=", "--ignore-missing-imports"]
    try:
        return mypycify([*options, *sources()], opt_level="2", debug_level="0")  # type: ignore[no-any-return]
    except (Exception, SystemExit) as error:
        # mypyc exits at an error of types, which another release of it may find.
        if is_required():
            raise
        print(f"not compiled: {error}", file=sys.stderr)
        return []


setup(
    setup_requires=[MYPYC] if is_wanted() else [],
    ext_modules=extensions(),
    cmdclass={"build_ext": OptionalBuild},
)
