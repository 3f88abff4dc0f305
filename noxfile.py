"""The version matrix: "make test" on each Python that is supported, with old and new dependencies.

``nox`` runs all sessions but the last one; ``nox -s prereleases`` that. Interpreters are looked for
on PATH as ``python3.12`` and so on. What follows ``--`` is handed to pytest.
"""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lowest", "quart_022", "newest"]
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")["project"]


def suite(session: nox.Session, *requirements: str, prereleases: tuple[str, ...] = ()) -> None:
    """Install the module with its test extra and further requirements, and run the tests."""
    built = session.run("python", ".ci/environment.py", "--wheel", silent=True)
    session.install(f"{built.splitlines()[-1]}[test]", *requirements)
    if prereleases:
        # By themselves: not what only the tests and examples use.
        session.install("--pre", "--upgrade", *prereleases)
    session.run("python", "-m", "pip", "list", silent=False)
    session.run("pytest", "@tests/fast.txt", *session.posargs)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """The lowest releases that are declared."""
    lowest = [requirement.replace(">=", "==") for requirement in PROJECT["dependencies"]]
    # Quart takes any Werkzeug 3, whose first releases read cookies in a way of their own.
    suite(session, *lowest, "Werkzeug==3.0.6")


@nox.session(python=["3.11", "3.12"])
def quart_022(session: nox.Session) -> None:
    """The last Quart with contexts of three classes, and the last one for these interpreters."""
    suite(session, "quart~=0.22.0")


@nox.session(python=["3.13", "3.14", "3.15"])
def newest(session: nox.Session) -> None:
    """The newest releases of everything."""
    suite(session)


@nox.session(python="3.15")
def prereleases(session: nox.Session) -> None:
    """What will be released next: a warning for us, not a failure of ours."""
    suite(session, prereleases=("quart", "PyJWT", "cryptography", "Werkzeug", "Hypercorn"))
