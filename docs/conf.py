"""How Sphinx builds these pages; ``make docs`` runs it.

The pages are Markdown that reads well on GitHub too, so they hold as little markup as possible.
What a built page has beyond that is added here:

- the navigation, from the lists of links in ``index.md``;
- admonitions, from quotations that begin with "Warning:" or "Note:" in bold letters;
- buttons that copy the code, without prompts and output;
- a target for every option in the tables of ``options.md``;
- diagrams, from blocks of ASCII art below a comment that says what they show;
- links from the names of options and of the public API, wherever they stand as code;
- the types of the public API, which autodoc cannot find in a compiled module;
- ``../CHANGES.md``, ``../SECURITY.md`` and the results of the benchmarks as pages.

The list of sections at the top of a page is left out: the theme shows it beside the text.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinxcontrib.svgbob._svgbob import to_svg

import quart_jwt_extended

# --- Settings of Sphinx --------------------------------------------------------------------------

project = "quart-jwt-extended"
author = "The quart-jwt-extended maintainers"
project_copyright = author
release = version = quart_jwt_extended.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"quart-jwt-extended {release}"
html_static_path = ["_static"]
html_css_files = ["extra.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

# The anchors of headings are those that GitHub makes.
myst_heading_anchors = 4

# Lines of output are not copied.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
maximum_signature_line_length = 80
toc_object_entries = False
python_display_short_literal_types = True

HERE = Path(__file__).parent

# Pages that are files outside of docs/. On GitHub each is a page with one link to its file; in a
# build it is the file.
OUTSIDE = {
    "benchmark-results": Path("../benchmarks/results/cpython-3.13-linux-x86_64.md"),
    "benchmarks": Path("../benchmarks/README.md"),
    "changes": Path("../CHANGES.md"),
    "security-policy": Path("../SECURITY.md"),
}

LOCAL_LINK = re.compile(r"\]\((?!\w+:|#)(?P<path>[^)\s#]+)(?P<anchor>#[\w-]+)?\)")


# --- Navigation ----------------------------------------------------------------------------------


def add_navigation(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Give ``index.md`` a hidden table of contents for each of its lists of links."""
    if docname != "index":
        return
    parts = []
    for section in source[0].split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        links = re.findall(r"^- \[([^]]+)\]\(([\w.-]+)\.md\)", body, re.MULTILINE)
        if links:
            entries = "\n".join(f"{text} <{page}>" for text, page in links)
            parts.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n")
    source[0] += "\n" + "\n".join(parts)


def take_in_files_outside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the pages of OUTSIDE in place, and lead every link to such a file to its page."""
    folder = Path()
    if docname in OUTSIDE:
        folder = OUTSIDE[docname].parent
        source[0] = (HERE / OUTSIDE[docname]).read_text("utf-8")
        app.env.note_dependency(str(HERE / OUTSIDE[docname]))
    pages = {path: f"{name}.md" for name, path in OUTSIDE.items()}

    def from_here(link: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / link["path"]))
        if path.parts[:2] == ("..", HERE.name):
            path = Path(*path.parts[2:])
        return f"]({pages.get(path, path)}{link['anchor'] or ''})"

    source[0] = LOCAL_LINK.sub(from_here, source[0])


# --- Text ----------------------------------------------------------------------------------------


class ListsOfSections(SphinxTransform):
    """Leave out the list of sections that a page begins with for readers on GitHub."""

    default_priority = 200

    def apply(self, **_kwargs: Any) -> None:
        for listing in list(self.document.findall(nodes.bullet_list)):
            if all(self.is_link_within_page(item) for item in listing):
                listing.parent.remove(listing)

    @staticmethod
    def is_link_within_page(item: nodes.Node) -> bool:
        if len(item.children) != 1 or len(item[0].children) != 1:
            return False
        link = item[0][0]
        return isinstance(link, nodes.reference) and link.get("refuri", "").startswith("#")


class Admonitions(SphinxTransform):
    """Make an admonition of each quotation that begins as one: ``> **Warning:** ...``."""

    default_priority = 200
    kinds = {"Note:": nodes.note, "Warning:": nodes.warning}

    def apply(self, **_kwargs: Any) -> None:
        for quotation in list(self.document.findall(nodes.block_quote)):
            first = quotation[0]
            # MyST puts an empty text before letters in bold.
            words = [node for node in first.children if node.astext()]
            kind = self.kinds.get(words[0].astext()) if words else None
            if kind and isinstance(words[0], nodes.strong):
                first[:] = words[1:]
                if first.children and isinstance(first[0], nodes.Text):
                    first[0] = nodes.Text(first[0].astext().lstrip())
                quotation.replace_self(kind("", *quotation.children))


class Doors(SphinxTransform):
    """The first list of ``index.md`` leads to its sections; extra.css makes boxes of it."""

    default_priority = 200

    def apply(self, **_kwargs: Any) -> None:
        if self.env.docname == "index":
            next(iter(self.document.findall(nodes.bullet_list)))["classes"].append("doors")


# --- Diagrams ------------------------------------------------------------------------------------

# A word of a diagram: it is next to no line, and more than the head of an arrow.
WORD = r"(?![vV](?!\S))[^\s|]*[A-Za-z0-9[{][^\s|]*"
WORDS = re.compile(rf"(?<![^\s|]){WORD}(?: {WORD})*")
# Of one character, in the units of the SVG; the size of the letters suits it.
WIDTH, HEIGHT = 8, 16


class Diagrams(SphinxPostTransform):
    """Draw each block that ``<!-- diagram: What it shows -->`` stands above.

    Svgbob draws the lines. It would put each word in place by itself, and take some for lines, so
    words that belong together are set here, in one piece each. No colour and no font is fixed:
    those are of extra.css, which knows light and dark.
    """

    default_priority = 200
    formats = ("html",)
    mark = re.compile(r"<!-- diagram: (?P<title>.+) -->")

    def run(self, **_kwargs: Any) -> None:
        for comment in list(self.document.findall(nodes.raw)):
            mark = self.mark.fullmatch(comment.astext().strip())
            if mark is None:
                continue
            block = comment.next_node(descend=False, siblings=True)
            if not isinstance(block, nodes.literal_block):
                raise SphinxError(f"No block below {comment.astext()!r}")
            drawing = self.drawn(block.astext(), mark["title"])
            block.replace_self(nodes.raw("", drawing, format="html"))
            comment.parent.remove(comment)

    @staticmethod
    def drawn(text: str, title: str) -> str:
        lines = text.splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        lines = [line[indent:].rstrip() for line in lines]
        words = [
            f'<text x="{found.start() * WIDTH}" y="{(row + 0.75) * HEIGHT:g}"'
            f' textLength="{len(found[0]) * WIDTH}">{escape(found[0])}</text>'
            for row, line in enumerate(lines)
            for found in WORDS.finditer(line)
        ]
        strokes = "\n".join(WORDS.sub(lambda found: " " * len(found[0]), line) for line in lines)
        svg = to_svg(strokes, include_styles=False, include_defs=False)
        drawing = re.fullmatch(r"<svg [^>]*>(.*)</svg>", svg.strip(), re.DOTALL)
        # What is left as text is neither a word nor a line. A mark at the end of a line would need
        # its definition.
        left = re.findall(r"<text.*|.*_marked_.*", svg)
        if drawing is None or left:
            raise SphinxError(f"Svgbob cannot draw {title!r}: {left}")
        # With room for half a stroke, and for letters that lean out of their place.
        width, height = max(map(len, lines)) * WIDTH + 4, len(lines) * HEIGHT
        return (
            f'<div class="diagram" style="--width: {width}px">'
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="-2 0 {width} {height}">'
            f"<title>{escape(title)}</title>{drawing[1]}{''.join(words)}</svg></div>"
        )


# --- Options -------------------------------------------------------------------------------------

OPTION = re.compile(r"\bJWT_[A-Z_]+\b")


def option_id(name: str) -> str:
    return name.lower().replace("_", "-")


class OptionTargets(SphinxTransform):
    """Make a target of every row in ``options.md`` that begins with an option."""

    default_priority = 400

    def apply(self, **_kwargs: Any) -> None:
        if self.env.docname != "options":
            return
        domain = self.env.domains.standard_domain
        index = addnodes.index(entries=[])
        for table in self.document.findall(nodes.table):
            named = [row for row in table.findall(nodes.row) if self.option_in(row)]
            if named:
                table["classes"].append("options")
            for row in named:
                name = self.option_in(row)
                row["ids"].append(option_id(name))
                self.label_cells(table, row)
                domain.note_object("confval", name, option_id(name), location=row)
                index["entries"].append(("single", name, option_id(name), "", None))
        self.document.insert(0, index)

    @staticmethod
    def option_in(row: nodes.row) -> str:
        name = row[0].astext()
        return name if name in quart_jwt_extended.DEFAULTS else ""

    @staticmethod
    def label_cells(table: nodes.table, row: nodes.row) -> None:
        """Say in each cell which column it is in: narrow screens show rows as blocks."""
        (head,) = table.findall(nodes.thead)
        for title, cell in zip(head[0], row, strict=True):
            cell["classes"].append(f"option-{title.astext()}")
            if cell.astext() == "–":
                cell["classes"].append("option-absent")


class NameLinks(SphinxTransform):
    """Link the names of options and of the public API that stand as code in a page."""

    default_priority = 500

    def apply(self, **_kwargs: Any) -> None:
        for literal in list(self.document.findall(nodes.literal)):
            target = self.target(literal.astext())
            if target and not self.is_taken(literal):
                domain, role, name = target
                reference = addnodes.pending_xref(
                    "",
                    refdomain=domain,
                    reftype=role,
                    reftarget=name,
                    refdoc=self.env.docname,
                    refexplicit=True,
                    refwarn=True,
                )
                literal.replace_self(reference)
                reference += literal

    @staticmethod
    def is_taken(literal: nodes.literal) -> bool:
        """Whether it is a link or in a heading already, or the row that a link would lead to."""
        parent = literal.parent
        while parent is not None:
            if isinstance(parent, nodes.reference | addnodes.pending_xref | nodes.title):
                return True
            if isinstance(parent, nodes.entry) and "option-option" in parent["classes"]:
                return True
            parent = parent.parent
        return False

    @staticmethod
    def target(text: str) -> tuple[str, str, str] | None:
        if text in quart_jwt_extended.DEFAULTS:
            return "std", "confval", text
        name = text.removeprefix("@").removesuffix("()")
        if name in quart_jwt_extended.__all__:
            return "py", "obj", f"quart_jwt_extended.{name}"
        if name.endswith("_loader") and hasattr(quart_jwt_extended.JWTManager, name):
            return "py", "obj", f"quart_jwt_extended.JWTManager.{name}"
        return None


def link_options_in_docstrings(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings name options as plain text, which is what an editor shows best."""
    lines[:] = [OPTION.sub(r":confval:`\g<0>`", line) for line in lines]


# --- Types ---------------------------------------------------------------------------------------

STUBS = {
    "quart_jwt_extended": HERE.parent / "quart_jwt_extended.pyi",
    "quart_jwt_extended.testing": HERE.parent / "stubs" / "testing.pyi",
}
# The definitions of each name in the stubs, one for each overload. All are functions: a class is
# its __init__, and a variable is a function that returns its type.
DEFINITIONS: dict[str, list[Any]] = {}
# The types that the private names in the stubs stand for. These are simplified for readers;
# read_stub() adds the others.
PRIVATE_TYPES = {
    "_Claims": "dict",
    "_HeaderParameters": "dict",
    "_Lifetime": "timedelta | int | Literal[False]",
    "_Locations": "_Names",
    "_Names": "str | list | tuple | set | frozenset",
    "_View": "Callable",
    "_ViewDecorator": "Callable",
    "WerkzeugResponse": "werkzeug.Response",
}
PRIVATE_NAME = re.compile(r"\b_[A-Z]\w*|\bWerkzeugResponse\b")
IMPORTED: list[str] = []


def read_stub(scope: str, body: list[ast.stmt]) -> None:
    for node in body:
        match node:
            case ast.ImportFrom(names=names):
                IMPORTED.extend(imported.name for imported in names)
            case ast.Assign([ast.Name(name)], ast.Call(keywords=[ast.keyword("bound", bound)])):
                # A long union is not repeated for async callbacks.
                text = re.sub(r" \| Awaitable\[_.*\]", " | Awaitable[...]]", ast.unparse(bound))
                PRIVATE_TYPES.setdefault(name, text)
            case ast.AnnAssign(ast.Name(name), ast.Name("TypeAlias"), value):
                PRIVATE_TYPES.setdefault(name, ast.unparse(value))
            case ast.AnnAssign(ast.Name(name), type_):
                read_stub(scope, ast.parse(f"def {name}() -> {ast.unparse(type_)}: ...").body)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                name = scope if name == "__init__" else f"{scope}.{name}"
                DEFINITIONS.setdefault(name, []).append(node)
            case ast.ClassDef(name, [ast.Name("NamedTuple")]):
                fields = ", ".join(ast.unparse(node) for node in node.body[1:])
                read_stub(scope, ast.parse(f"def {name}({fields}) -> None: ...").body)
            case ast.ClassDef(name):
                read_stub(f"{scope}.{name}", node.body)


for module, path in STUBS.items():
    read_stub(module, ast.parse(path.read_text("utf-8")).body)

# No inventory of another project is downloaded: a build needs no network.
nitpick_ignore_regex = [("py:.*", rf"((jwt|quart|werkzeug)\..*|{'|'.join(IMPORTED)})$")]


def public_type(types: Iterable[ast.expr]) -> ast.expr:
    """The union of types, with their private names written out."""
    texts = []
    for type_ in types:
        # Only type checkers need to know that a decorator keeps the parameters of its function.
        text = re.sub(r"Callable\[_P, .*", "Callable", ast.unparse(type_))
        while PRIVATE_NAME.search(text):
            text = PRIVATE_NAME.sub(lambda name: PRIVATE_TYPES[name[0]], text)
        texts.append(text)
    return ast.parse(" | ".join(dict.fromkeys(texts)), mode="eval").body


def add_types(
    _app: Sphinx, what: str, name: str, _obj: Any, _options: Any, _signature: Any, _returns: Any
) -> tuple[str, str] | None:
    """Show a function or a class with its signature in the stubs, and overloads as one."""
    overloads = DEFINITIONS.get(name)
    if overloads is None or what in ("attribute", "property"):
        return ("", "") if what == "class" else None
    in_all = [[*overload.args.args, *overload.args.kwonlyargs] for overload in overloads]
    for same in zip(*in_all, strict=True):
        if same[-1].annotation:
            same[-1].annotation = public_type(argument.annotation for argument in same)
    arguments = overloads[-1].args
    arguments.args = [argument for argument in arguments.args if argument.arg != "self"]
    returns = ast.unparse(public_type(overload.returns for overload in overloads))
    # A decorator returns the type that it accepts.
    returns = re.sub(r"^Callable\[.*", "Callable", returns)
    return f"({ast.unparse(arguments)})", "" if what == "class" else returns


def add_type_of_value(_app: Sphinx, _domain: str, what: str, content: nodes.Element) -> None:
    """Show the type of a property or a variable, which :func:`add_types` cannot change."""
    if what in ("attribute", "data", "property"):
        signature = content.parent[0]
        (definition,) = DEFINITIONS[f"{signature['module']}.{signature['fullname']}"]
        type_ = ast.unparse(public_type([definition.returns]))
        signature += addnodes.desc_annotation("", f": {type_}")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_navigation)
    app.connect("source-read", take_in_files_outside)
    app.connect("autodoc-process-signature", add_types)
    app.connect("object-description-transform", add_type_of_value)
    app.connect("autodoc-process-docstring", link_options_in_docstrings)
    app.add_transform(ListsOfSections)
    app.add_transform(Admonitions)
    app.add_transform(Doors)
    app.add_post_transform(Diagrams)
    app.add_transform(OptionTargets)
    app.add_transform(NameLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
