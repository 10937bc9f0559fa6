"""Sessions for people and for CI. All share one environment, so that torch is installed once.

nox -s demo       real tissue to clusters, with pictures in demo/
nox -s tests      the test suite; arguments after -- go to pytest
nox -s lint types docs bench
nox -s notebooks  execute the notebooks, all or those named after --
nox -s fuzz       a long search for inputs that break promises; arguments after -- go to pytest
nox -s audit      what a scanner for insecure code finds
nox -s openvino   what needs OpenVINO, which the other sessions do without
nox -s versions   the suite with the oldest and with the newest dependencies, on the Pythons that are there
nox -s package    wheel and sdist in dist/, checked and installed in an empty environment
nox -s load       a large slide from end to end: seconds and memory of each stage
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "none"

ENVIRONMENT = Path(__file__).parent / ".nox" / "shared"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")

IN_TWO = ("-n", "2", "--dist", "loadfile")
"""Whole files go to a process each: what their tests share is made once. Each process takes 2 to 3 GB."""


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of the shared environment."""
    session.run(str(BIN / program), *arguments, external=True)


def prepare(session: nox.Session, *groups: str) -> None:
    """Make the shared environment once, and bring the package and some dependency groups into it."""
    if not BIN.exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
        run(session, "python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    wanted = [argument for group in groups for argument in ("--group", group)]
    session.log("installing the package and its dependencies: minutes at first, seconds later")
    run(session, "python", "-m", "pip", "install", "--quiet", "--editable", ".", *wanted)


@nox.session
def demo(session: nox.Session) -> None:
    """The main job, from tissue to pictures, in about three minutes on two free cores."""
    prepare(session, "demo")
    run(session, "python", "-m", "pixnet_sd.demo", *(session.posargs or ["demo"]))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, in two processes."""
    prepare(session, "test")
    run(session, "python", "-m", "pytest", *IN_TWO, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    prepare(session, "lint")
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types."""
    prepare(session, "lint", "test")
    run(session, "mypy")


@nox.session
def notebooks(session: nox.Session) -> None:
    """Execute the notebooks, all or those named after --; one that fails fails the session."""
    prepare(session, "notebooks")
    run(session, "python", "docs/_scripts/notebooks.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, from scratch; a warning is an error. Notebooks are executed where they have changed."""
    prepare(session, "docs", "notebooks")
    run(session, "python", "docs/_scripts/notebooks.py", "--stale")
    for made in ("_build", "generated"):
        shutil.rmtree(Path("docs", made), ignore_errors=True)
    run(session, "sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks; name some after --, e.g. `nox -s bench -- imports aggregate`."""
    prepare(session, "bench")
    for name in session.posargs or ["imports"]:
        run(session, "python", "-m", f"benchmarks.{name}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """A long search for inputs that break promises, from another start each time."""
    prepare(session, "test")
    session.env["HYPOTHESIS_PROFILE"] = "long"
    run(session, "python", "-m", "pytest", "tests/hardening", *session.posargs)


@nox.session
def openvino(session: nox.Session) -> None:
    """Tests of OpenVINO, which other sessions do without: it is installed into a folder of its own."""
    prepare(session, "test")
    folder = ENVIRONMENT.parent / "openvino"
    wanted = ("--no-deps", "--target", str(folder), "openvino>=2026.4")
    run(session, "python", "-m", "pip", "install", "--quiet", "--upgrade", *wanted)
    session.env["PYTHONPATH"] = str(folder)
    files = ("tests/nn/inference/test_openvino.py", "tests/tl/_prediction/test_backends.py")
    run(session, "python", "-m", "pytest", *files, *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """What a scanner for insecure code finds in the package, from medium severity on."""
    prepare(session)
    run(session, "python", "-m", "pip", "install", "--quiet", "bandit>=1.8")
    run(session, "bandit", "--quiet", "--recursive", "--severity-level", "medium", "src")


@nox.session
@nox.parametrize("resolution", ["lowest-direct", "highest"])
@nox.parametrize("python", ["3.11", "3.12", "3.13"])
def versions(session: nox.Session, python: str, resolution: str) -> None:
    """The test suite with the oldest dependencies that pyproject.toml allows, and with the newest that there are."""
    interpreter = shutil.which(f"python{python}")
    if interpreter is None or subprocess.run([interpreter, "--version"], capture_output=True).returncode:
        session.skip(f"there is no python{python} here, or only a shim for one that is not active")
    folder = ENVIRONMENT.with_name(f"{python}-{resolution}")
    prepare_uv(session)
    uv(session, "venv", "--quiet", "--allow-existing", "--python", str(interpreter), str(folder))
    their_python = str(folder / BIN.name / "python")
    with tempfile.TemporaryDirectory() as temporary:
        pinned = str(Path(temporary) / "pinned.txt")
        uv(
            *(session, "pip", "compile", "--quiet", "--resolution", resolution, "--python", their_python),
            *("--group", "test", "--output-file", pinned, "pyproject.toml"),
        )
        uv(session, "pip", "sync", "--python", their_python, pinned)
    uv(session, "pip", "install", "--quiet", "--python", their_python, "--no-deps", "--editable", ".")
    session.run(their_python, "-m", "pytest", *session.posargs, external=True)


def prepare_uv(session: nox.Session) -> None:
    """uv can choose the oldest versions that are allowed; pip cannot."""
    if not BIN.exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    run(session, "python", "-m", "pip", "install", "--quiet", "uv>=0.7")


def uv(session: nox.Session, *arguments: str) -> None:
    run(session, "uv", *arguments)


@nox.session
def load(session: nox.Session) -> None:
    """A large slide from end to end, in a quarter of an hour; smaller by options after --, see benchmarks/load.py."""
    prepare(session)
    run(session, "python", "benchmarks/load.py", *session.posargs)


LARGEST_PACKAGE = 30_000_000


@nox.session
def package(session: nox.Session) -> None:
    """Build wheel and sdist, and install the wheel in an empty environment; `-- --no-deps` leaves out what it needs."""
    shutil.rmtree("dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        tools, bare = (make_environment(session, Path(temporary) / name) for name in ("tools", "bare"))
        session.run(str(tools / "python"), "-m", "pip", "install", "--quiet", "build", "twine", external=True)
        session.run(str(tools / "python"), "-m", "build", "--outdir", "dist", external=True)
        files = [str(path) for path in Path("dist").iterdir()]
        session.run(str(tools / "twine"), "check", "--strict", *files, external=True)
        if large := [name for name in files if Path(name).stat().st_size > LARGEST_PACKAGE]:
            session.error(f"{large} are larger than {LARGEST_PACKAGE:,} bytes")
        wheel = next(name for name in files if name.endswith(".whl"))
        session.run(str(bare / "python"), "-m", "pip", "install", "--quiet", *session.posargs, wheel, external=True)
        session.run(str(bare / "pixnet-sd"), "--version", external=True)


def make_environment(session: nox.Session, folder: Path) -> Path:
    """Make an environment and return the folder of its programs."""
    session.run(sys.executable, "-m", "venv", str(folder), external=True)
    return folder / BIN.name
