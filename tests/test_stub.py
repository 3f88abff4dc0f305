"""The stub says what the module says: names, signatures, docstrings, sections.

An editor shows the ``.pyi``, ``help()`` shows the module; nobody may read two different things.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import quart_jwt_extended as qje

ROOT = Path(__file__).parent.parent
STUB = (ROOT / "quart_jwt_extended.pyi").read_text(encoding="utf-8")
TREE = ast.parse(STUB)

# The banner of a section, and the smaller one of a part of it.
BANNERS = {
    "section": r"^# -{20,}\n# (.+)\n# -{20,}$",
    "part": r"^ *# --- (.+?) -+$",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Parameter = tuple[str, str, Any]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def public_names() -> set[str]:
    """Public names that the stub defines; imports are not among them."""
    variables = {ast.unparse(n.target) for n in TREE.body if isinstance(n, ast.AnnAssign)}
    return {*classes(), *(name for name in functions() if "." not in name)} | {
        name for name in variables if is_public(name)
    }


def classes() -> dict[str, ast.ClassDef]:
    return {n.name: n for n in TREE.body if isinstance(n, ast.ClassDef) and is_public(n.name)}


def functions() -> dict[str, list[Function]]:
    """Public functions and methods by dotted name; the overloads of one stay together."""
    found: dict[str, list[Function]] = {}
    scopes = [("", TREE.body), *((f"{name}.", node.body) for name, node in classes().items())]
    for prefix, body in scopes:
        for node in body:
            if isinstance(node, Function.__args__) and is_public(node.name):
                found.setdefault(prefix + node.name, []).append(node)
    return found


def runtime(dotted: str) -> Any:
    """The object of the module that a dotted name of the stub stands for."""
    value: Any = qje
    for name in dotted.split("."):
        value = inspect.getattr_static(value, name)
    return value


def stub_parameters(node: Function) -> list[Parameter]:
    """Name, kind and default of each parameter in the stub."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    missing = [inspect.Parameter.empty] * (len(positional) - len(given.defaults))
    defaults = [*missing, *(value_of(default) for default in given.defaults)]
    kinds = ["positional-only"] * len(given.posonlyargs) + ["positional or keyword"] * len(
        given.args
    )
    found = [
        (arg.arg, kind, default)
        for arg, kind, default in zip(positional, kinds, defaults, strict=True)
    ]
    if given.vararg:
        found.append((given.vararg.arg, "variadic positional", inspect.Parameter.empty))
    found += [
        (arg.arg, "keyword-only", inspect.Parameter.empty if value is None else value_of(value))
        for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg:
        found.append((given.kwarg.arg, "variadic keyword", inspect.Parameter.empty))
    return found


def value_of(default: ast.expr) -> Any:
    """The value of a default in the stub, which must be a literal."""
    value = ast.literal_eval(default)
    assert value is not ..., "the stub must show the default itself"
    return value


def runtime_parameters(function: Any) -> list[Parameter]:
    """Name, kind and default of each parameter in the module."""
    return [
        (parameter.name, parameter.kind.description, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


def sections(suffix: str, banner: str) -> list[str]:
    """The titles of the banners in one of the two files, in order."""
    text = (ROOT / f"quart_jwt_extended{suffix}").read_text(encoding="utf-8")
    return re.findall(banner, text, re.MULTILINE)


def test_stub_and_module_export_the_same_names() -> None:
    (exported,) = (
        ast.literal_eval(n.value)
        for n in TREE.body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    )
    assert exported == qje.__all__


def test_stub_and_module_define_the_same_public_names() -> None:
    in_module = {
        name for name, value in vars(qje).items() if is_public(name) and not inspect.ismodule(value)
    }
    assert public_names() == in_module
    assert in_module >= set(qje.__all__)


@pytest.mark.parametrize("name", classes())
def test_class_has_equal_bases_and_docstring(name: str) -> None:
    node, value = classes()[name], getattr(qje, name)
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases] or ["object"]
    assert bases == [base.__name__ for base in value.__bases__]
    assert ast.get_docstring(node) == inspect.cleandoc(value.__doc__)


@pytest.mark.parametrize("name", classes())
def test_class_has_the_same_public_attributes(name: str) -> None:
    in_stub = {dotted.partition(".")[2] for dotted in functions() if dotted.startswith(f"{name}.")}
    in_module = {key for key in vars(getattr(qje, name)) if is_public(key)}
    assert in_stub == in_module


@pytest.mark.parametrize("name", functions())
def test_function_has_equal_docstring(name: str) -> None:
    in_stub = [text for node in functions()[name] if (text := ast.get_docstring(node))]
    in_module = runtime(name).__doc__
    assert in_stub == ([inspect.cleandoc(in_module)] if in_module else [])


@pytest.mark.parametrize("name", functions())
def test_function_has_equal_parameters(name: str) -> None:
    for node in functions()[name]:
        assert stub_parameters(node) == runtime_parameters(runtime(name))


@pytest.mark.parametrize("name", functions())
def test_function_is_a_coroutine_function_in_both_or_neither(name: str) -> None:
    for node in functions()[name]:
        in_stub = isinstance(node, ast.AsyncFunctionDef)
        assert in_stub == inspect.iscoroutinefunction(runtime(name))


@pytest.mark.parametrize("banner", BANNERS.values(), ids=BANNERS)
def test_sections_of_the_stub_stand_in_the_order_of_the_module(banner: str) -> None:
    in_stub, in_module = sections(".pyi", banner), sections(".pyx", banner)
    assert len(in_stub) > 1
    assert [title for title in in_module if title in in_stub] == in_stub


def test_table_of_contents_names_the_sections_of_the_module() -> None:
    contents = re.findall(r"^(\d+\.) +(.+)", inspect.getdoc(qje) or "", re.MULTILINE)
    titles = sections(".pyx", BANNERS["section"])
    assert len(contents) == len(titles)
    for (number, entry), title in zip(contents, titles, strict=True):
        assert f"{number} {entry}".startswith(title.partition(" (")[0])
