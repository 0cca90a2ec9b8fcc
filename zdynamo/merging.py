"""Merge functions: how siblings become one value, and which functions may be called for it.

A bucket names its function as `merge:MODULE:FUNCTION`. Clients import it and call it, so only functions that their
author has marked for it are ever called: a cluster's configuration must not make a client call anything else.
"""

import importlib
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from zdynamo.errors import MergeFunctionError

MARK = "__zdynamo_merge_function__"
FORM = "MODULE:FUNCTION, such as zdynamo.merges:union"

MergeFunction = Callable[[Any, Any], Any]
F = TypeVar("F", bound=MergeFunction)


def merge_function(function: F) -> F:
    """Mark a function of two values as one that clients may call to merge siblings.

    It has to give the same whatever the order and however often (commutative, associative, idempotent); `zdynamo
    check-merge` looks for examples that break this. It must not change its arguments.

    Raises: TypeError for what cannot be marked, and for a coroutine function, which nobody would await.
    """
    check_plain("the merge function", function)
    try:
        setattr(function, MARK, True)
    except AttributeError:
        raise TypeError(f"{function!r} cannot be marked: wrap it in a function of your own") from None
    return function


def check_plain(what: str, function: Callable[..., Any]) -> None:
    """Raises: TypeError for what cannot be called, and for a coroutine function."""
    if not callable(function):
        raise TypeError(f"{what} is something to call, not {type(function).__name__}")
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        raise TypeError(f"{what} {function!r} is a coroutine function: nobody awaits it, give a plain one (def)")


def is_merge_function(function: object) -> bool:
    """Whether its author has marked it."""
    return callable(function) and getattr(function, MARK, False) is True


def load_merge_function(reference: str) -> MergeFunction:
    """The marked function that `MODULE:FUNCTION` names. Raises: MergeFunctionError, one line that says what to do."""
    function = load_function(reference)
    if not is_merge_function(function):
        raise MergeFunctionError(
            f"{reference} is not marked with @zdynamo.merge_function: only such functions are called"
        )
    return function


def load_function(reference: str) -> MergeFunction:
    """The function that `MODULE:FUNCTION` names, marked or not. Raises: MergeFunctionError."""
    module_name, path = parse_reference(reference)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module's own code raises
        why = f"{type(error).__name__}: {error}"
        raise MergeFunctionError(f"{reference}: the module {module_name} cannot be imported ({why})") from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise MergeFunctionError(f"{reference}: {module_name} has no function {path}")
    return found  # type: ignore[no-any-return]


def parse_reference(reference: str) -> tuple[str, str]:
    """Module and function. Raises: MergeFunctionError unless it has that form."""
    module_name, _, path = reference.partition(":")
    if not all(name.isidentifier() for name in (*module_name.split("."), *path.split("."))):
        raise MergeFunctionError(f"{reference!r} names no function: write it as {FORM}")
    return module_name, path
