"""The stubs say what the module says: names, signatures, docstrings, sections.

An editor shows the ``.pyi``, ``help()`` shows the module; nobody may read two different things.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import quart_jwt_extended as qje

ROOT = Path(__file__).parents[2]
STUB = ast.parse((ROOT / "quart_jwt_extended.pyi").read_text(encoding="utf-8"))
SUBMODULES = {
    path.stem: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "stubs").glob("*.pyi"))
}

# The banner of a section, and the smaller one of a part of it.
BANNERS = {
    "section": r"^# -{20,}\n# (.+)\n# -{20,}$",
    "part": r"^ *# --- (.+?) -+$",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def classes() -> dict[str, ast.ClassDef]:
    return {n.name: n for n in STUB.body if isinstance(n, ast.ClassDef) and is_public(n.name)}


def functions_in(body: list[ast.stmt]) -> dict[str, list[Function]]:
    """Public functions by name; the overloads of one stay together."""
    found: dict[str, list[Function]] = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
            found.setdefault(node.name, []).append(node)
    return found


def functions() -> dict[str, list[Function]]:
    """Public functions and methods of the main stub by dotted name."""
    found = functions_in(STUB.body)
    for class_name, node in classes().items():
        for name, overloads in functions_in(node.body).items():
            found[f"{class_name}.{name}"] = overloads
    return found


def variables(tree: ast.Module | ast.ClassDef) -> set[str]:
    """Public names that have a type and no definition."""
    names = {ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)}
    return {name for name in names if is_public(name)}


def reexports(tree: ast.Module) -> dict[str, str]:
    """Names taken over from the main module, with the name that they have there."""
    return {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "quart_jwt_extended"
        for alias in node.names
        if alias.asname
    }


def taken_over(tree: ast.Module) -> set[str]:
    """The names that a submodule has from others, as 0.1.0's had."""
    return {
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quart_jwt_extended")
        for alias in node.names
        if alias.asname
    }


def runtime(dotted: str) -> Any:
    """The object of the module that a dotted name of the stub stands for."""
    value: Any = qje
    for name in dotted.split("."):
        value = inspect.getattr_static(value, name)
    return value.fget if isinstance(value, property) else value


def stub_parameters(node: Function) -> list[inspect.Parameter]:
    """Names, kinds and defaults in the stub: the definition runs, its annotations do not."""
    definition = type(node)(**{**vars(node), "decorator_list": []})
    future = __future__.annotations.compiler_flag
    namespace: dict[str, Any] = {}
    exec(compile(ast.Module([definition], []), "stub", "exec", flags=future), namespace)
    return runtime_parameters(namespace[node.name])


def runtime_parameters(function: Any) -> list[inspect.Parameter]:
    """Names, kinds and defaults; the annotations are for the type checkers to compare."""
    given = inspect.signature(function).parameters.values()
    return [parameter.replace(annotation=inspect.Parameter.empty) for parameter in given]


def sections(suffix: str, banner: str) -> list[str]:
    """The titles of the banners in one of the two files, in order."""
    text = (ROOT / f"quart_jwt_extended{suffix}").read_text(encoding="utf-8")
    return re.findall(banner, text, re.MULTILINE)


def test_stub_and_module_export_the_same_names() -> None:
    (exported,) = (
        ast.literal_eval(n.value)
        for n in STUB.body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    )
    assert exported == qje.__all__


def test_stub_and_module_define_the_same_public_names() -> None:
    in_module = {
        name for name, value in vars(qje).items() if is_public(name) and not inspect.ismodule(value)
    }
    assert {*classes(), *functions_in(STUB.body), *variables(STUB)} == in_module
    assert in_module >= set(qje.__all__)


@pytest.mark.parametrize("name", classes())
def test_class_has_equal_bases_and_docstring(name: str) -> None:
    node, value = classes()[name], getattr(qje, name)
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases] or ["object"]
    if bases == ["NamedTuple"]:
        bases = ["tuple"]
    assert bases == [base.__name__ for base in value.__bases__]
    assert ast.get_docstring(node) == inspect.cleandoc(value.__doc__)


@pytest.mark.parametrize("name", classes())
def test_class_has_the_same_public_attributes(name: str) -> None:
    in_module = {key for key in vars(getattr(qje, name)) if is_public(key)}
    node = classes()[name]
    if "Protocol" in [ast.unparse(base) for base in node.bases]:
        # What keeps a protocol from being instantiated.
        in_module.discard("__init__")
    assert {*functions_in(node.body), *variables(node)} == in_module


@pytest.mark.parametrize("name", functions())
def test_function_has_equal_docstring(name: str) -> None:
    in_stub = [text for node in functions()[name] if (text := ast.get_docstring(node))]
    in_module = runtime(name).__doc__
    assert in_stub == ([inspect.cleandoc(in_module)] if in_module else [])


@pytest.mark.parametrize("name", functions())
def test_function_has_equal_parameters(name: str) -> None:
    in_module = runtime_parameters(runtime(name))
    overloads = [stub_parameters(node) for node in functions()[name]]
    assert in_module in overloads
    for overload in overloads:
        # One of several overloads may require what is optional in all of them together.
        required = {
            parameter.name for parameter in overload if parameter.default is parameter.empty
        }
        assert overload == [
            parameter.replace(default=parameter.empty) if parameter.name in required else parameter
            for parameter in in_module
        ]


@pytest.mark.parametrize("name", functions())
def test_function_is_a_coroutine_function_in_both_or_neither(name: str) -> None:
    for node in functions()[name]:
        in_stub = isinstance(node, ast.AsyncFunctionDef)
        assert in_stub == inspect.iscoroutinefunction(runtime(name))


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodule_defines_the_names_of_its_stub(name: str) -> None:
    tree, module = SUBMODULES[name], importlib.import_module(f"quart_jwt_extended.{name}")
    in_stub = {*taken_over(tree), *functions_in(tree.body), *variables(tree)}
    assert in_stub == {key for key in vars(module) if is_public(key)}


@pytest.mark.parametrize("name", [name for name, tree in SUBMODULES.items() if reexports(tree)])
def test_submodule_takes_over_objects_of_the_main_module(name: str) -> None:
    module = importlib.import_module(f"quart_jwt_extended.{name}")
    for here, there in reexports(SUBMODULES[name]).items():
        assert getattr(module, here) is getattr(qje, there)


@pytest.mark.parametrize(
    "name", [name for name, tree in SUBMODULES.items() if functions_in(tree.body)]
)
def test_submodule_function_has_the_parameters_of_its_stub(name: str) -> None:
    module = importlib.import_module(f"quart_jwt_extended.{name}")
    for function, (node,) in functions_in(SUBMODULES[name].body).items():
        assert stub_parameters(node) == runtime_parameters(getattr(module, function))


def test_config_has_the_properties_of_its_stub() -> None:
    (node,) = (node for node in SUBMODULES["config"].body if isinstance(node, ast.ClassDef))
    config = type(importlib.import_module("quart_jwt_extended.config").config)
    in_module = {key for key, value in vars(config).items() if isinstance(value, property)}
    assert set(functions_in(node.body)) == in_module


@pytest.mark.parametrize("banner", BANNERS.values(), ids=BANNERS)
def test_sections_of_the_stub_stand_in_the_order_of_the_module(banner: str) -> None:
    in_stub, in_module = sections(".pyi", banner), sections(".pyx", banner)
    assert len(in_stub) > 1
    assert [title for title in in_module if title in in_stub] == in_stub


def test_table_of_contents_names_the_sections_of_the_module() -> None:
    contents = re.findall(r"^- (.+)", inspect.getdoc(qje) or "", re.MULTILINE)
    titles = sections(".pyx", BANNERS["section"])
    assert len(contents) == len(titles)
    for entry, title in zip(contents, titles, strict=True):
        assert entry.partition(": ")[0] == title
