"""
The function that CROCBOT_AGENT_FUNCTION names, imported and checked before the start.

    agent:answer            answer in agent.py of the working directory
    shop.bots:Bot.answer    an attribute of an attribute of an installed module

The module is imported in a thread of its own, where no event loop runs: it may run one.
What it prints goes to standard error.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from threading import Thread
from types import ModuleType
from typing import Any

from crocbot.errors import OperatorError
from crocbot.text import printable

SETTING = "CROCBOT_AGENT_FUNCTION"
MAX_ERROR_CHARS = 200


@dataclass(frozen=True, slots=True)
class Function:
    """
    A function that answers questions.

    `context` has the context variables as its module has set them.
    """

    name: str
    call: Callable[[Any], Any] = field(repr=False)
    context: Context = field(repr=False)

    @property
    def is_async(self) -> bool:
        """Return whether a call returns at once: what it returns is to be awaited."""
        call = self.call
        while isinstance(call, partial):
            call = call.func
        called = getattr(call, "__call__", None)  # noqa: B004 (of an object)
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (call, called)
        )


def load_function(name: str) -> Function:
    """Import a function, named `module:attribute`.  Raise OperatorError."""
    found: list[Function | BaseException] = []
    thread = Thread(target=_load, args=(name, found), name="agent import", daemon=True)
    thread.start()
    thread.join()
    result = found[0] if found else OperatorError(f"{SETTING}: it was not imported")
    if isinstance(result, BaseException):
        raise result
    return result


def _load(name: str, found: list[Function | BaseException]) -> None:
    module_name, _, attributes = name.partition(":")
    try:
        # Libraries may ask for standard output while they are imported.
        with redirect_stdout(sys.stderr), _working_directory_first():
            module = _import(module_name)
            call = _attribute(module, attributes)
            _check(name, call)
        found.append(Function(name, call, copy_context()))
    except OperatorError as error:
        found.append(error)
    except BaseException as error:
        found.append(_import_error(module_name, error))


@contextmanager
def _working_directory_first() -> Iterator[None]:
    """Find modules in the working directory: first for now, later after all others."""
    folder = os.getcwd()  # noqa: PTH109 (a text, as sys.path has them)
    if {"", folder} & set(sys.path):
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        # Later imports of the gateway must not find files of the same name there.
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.append(folder)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise OperatorError(
                f"{SETTING}: there is no module {error.name!r}, neither in the working"
                " directory nor installed"
            ) from error
        raise


def _import_error(name: str, error: BaseException) -> OperatorError:
    """Return the one line about a module that cannot be imported."""
    where = ""
    if isinstance(error, SyntaxError):
        file, line, text = error.filename, error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith("<frozen")]
        file, line = (own[-1].filename, own[-1].lineno) if len(own) > 1 else ("", 0)
        text = _text_of(error)
    if file:
        where = f" ({os.path.basename(file)}, line {line})"  # noqa: PTH119 (a text)
    reason = f"{type(error).__name__}: {text}".rstrip(": ")[:MAX_ERROR_CHARS]
    return OperatorError(
        printable(f"{SETTING}: importing {name} fails{where}: {reason}")
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error).partition("\n")[0]
    except Exception:
        return ""


def _attribute(module: ModuleType, names: str) -> Any:
    found: Any = module
    path = module.__name__
    for name in names.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            hint = _other_module(module) or hint
            raise OperatorError(f"{SETTING}: {path} has no {name!r}{hint}")
        found = getattr(found, name)
        path = f"{path}.{name}"
    return found


def _other_module(module: ModuleType) -> str:
    """Return a remark if a file of the working directory has the name of a library."""
    name, found = module.__name__, getattr(module, "__file__", None) or "built in"
    own = os.path.join(os.getcwd(), f"{name}.py")  # noqa: PTH109, PTH118 (a text)
    if found == own or not os.path.exists(own):  # noqa: PTH110 (a text)
        return ""
    return f"; it is the module {found}: rename {name}.py, and name the new file"


def _check(name: str, call: object) -> None:
    """Raise OperatorError unless a call with one argument, a question, is possible."""
    kind = type(call).__name__
    if inspect.isclass(call):
        raise OperatorError(f"{SETTING}: {name} is a class; name a function")
    if not callable(call):
        raise OperatorError(f"{SETTING}: {name} is no function but of type {kind}")
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        # Of some built-in functions.
        return
    try:
        signature.bind(object())
    except TypeError as error:
        raise OperatorError(
            f"{SETTING}: {name} must take one argument, the question: {error}"
        ) from error
