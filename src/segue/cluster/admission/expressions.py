"""CEL expressions by Google's own library, which is loaded when the first policy comes: most clusters have none.

Lists have sum, min, max and isSorted, texts find and findAll, as Kubernetes adds them; its other additions (quantities,
URLs, addresses, the authorizer) are not there.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Protocol, TypeAlias, cast

from segue.model.objects import Obj

Plain: TypeAlias = Obj | list[object] | str | int | float | bool | None
LIBRARY = "cel_expr_python"
_EXTENSIONS = ("strings", "optional", "bindings")
_NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_STATUS = re.compile(r"^[A-Z_]+: ")
_NO_KEY = re.compile(r'Key not found in map : "(.*)"')
_SAYINGS = {"divide by zero": "division by zero"}


class _Type(Protocol):
    def name(self) -> str: ...


class _Value(Protocol):
    def plain_value(self) -> object: ...
    def type(self) -> _Type: ...


class _Code(Protocol):
    """A compiled expression of the library."""

    def eval(self, *, data: Mapping[str, object]) -> _Value: ...
    def return_type(self) -> _Type: ...


class _Environment(Protocol):
    """What expressions may use."""

    def compile(self, expression: str) -> _Code: ...


class _Function(Protocol):
    def __call__(self, *arguments: object) -> object: ...


class Misfit(Exception):
    """An expression that cannot be read; the message is the compiler's, with the place."""


class Failure(Exception):
    """An expression that came to no value for these objects."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; `kind` is the type that it comes to: bool, string, int, dyn."""

    kind: str
    _code: _Code

    def value(self, data: Mapping[str, Plain]) -> Plain:
        """What it comes to; Failure where it comes to nothing."""
        result = self._code.eval(data={name: data.get(name) for name in _NAMES})
        plain = result.plain_value()
        if result.type().name() == "ERROR":
            raise Failure(_said(str(plain)))
        return cast("Plain", plain)


def are_available() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec(LIBRARY) is not None


@lru_cache(maxsize=1024)
def compiled(text: str, names: frozenset[str]) -> Expression:
    """An expression that may use these names; Misfit where it cannot be read."""
    try:
        code = _environment(names).compile(text)
    except RuntimeError as error:
        message = _STATUS.sub("", str(error), count=1).removesuffix(" [INVALID_ARGUMENT]")
        raise Misfit(message) from error
    return Expression(code.return_type().name().lower(), code)


@cache
def _environment(names: frozenset[str]) -> _Environment:
    cel = import_module(f"{LIBRARY}.cel")
    strings, optional, bindings = (import_module(f"{LIBRARY}.ext.ext_{name}") for name in _EXTENSIONS)
    kind = cel.Type
    some, text = kind.List(kind.DYN), kind.STRING
    functions = [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(
                    f"segue_{name}",
                    result,
                    [receiver, *more],
                    is_member=True,
                    impl=_plainly(cast("_Function", function)),
                )
            ],
        )
        for name, result, receiver, more, function in (
            ("sum", kind.DYN, some, [], sum),
            ("min", kind.DYN, some, [], min),
            ("max", kind.DYN, some, [], max),
            ("isSorted", kind.BOOL, some, [], lambda items: items == sorted(items)),
            ("find", text, text, [text], _find),
            ("findAll", kind.List(text), text, [text], lambda where, what: [m[0] for m in re.finditer(what, where)]),
        )
    ]
    extensions = [strings.ExtStrings(), optional.ExtOptional(), bindings.ExtBindings()]
    variables = dict.fromkeys(sorted(names), kind.DYN)
    return cast("_Environment", cel.NewEnv(variables=variables, extensions=extensions, functions=functions))


def _plainly(function: _Function) -> _Function:
    """The function on plain values, however the library hands them over."""

    def call(*arguments: object) -> object:
        return function(*(_plain(argument) for argument in arguments))

    return call


def _plain(value: object) -> object:
    if isinstance(value, str | int | float | bool | dict) or value is None:
        return value
    plain = getattr(value, "plain_value", None)
    if plain is not None:
        return plain()
    return [_plain(item) for item in cast("list[object]", value)]


def _find(where: str, what: str) -> str:
    found = re.search(what, where)
    return found[0] if found else ""


def _said(message: str) -> str:
    """An error in the words of the library that Kubernetes is built with."""
    plain = _STATUS.sub("", message)
    missing = _NO_KEY.search(plain)
    if missing:
        return f"no such key: {missing[1]}"
    if "No matching overload" in plain:
        return "no such overload"
    return _SAYINGS.get(plain, plain)
