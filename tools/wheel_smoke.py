"""Builds every package and uses each one alone: `uv run python tools/wheel_smoke.py [NAME ...]`.

For each package: sdist and wheel are built, the wheel is checked against the sources, installed with nothing but what
it declares into a new environment (at the locked versions), every module is imported there and every console script
answers `--help`. A user's program is type-checked strictly against what was installed. Prints what each environment
weighs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HTTPX = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna", "typing-extensions"}
PYDANTIC = {"annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"}
WEB = {"fastapi", "httptools", "pyzmq", "starlette", "uvicorn"}
DEVICE = {"flax", "jax", "jaxlib", "sgl-jax-engine"}

NEED_AN_EXTRA = ("sgl_jax.server.traces",)
"""Modules that only import where an extra is installed."""

SERVER_TARGET_MB = 700
"""What a CPU install of the server should stay under; more is printed, not refused."""

IMPORT_EVERYTHING = f"""
import importlib, pkgutil, sys
skipped = {NEED_AN_EXTRA}
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith(".__main__") and module.name not in skipped:
            importlib.import_module(module.name)
"""


@dataclass(frozen=True)
class Package:
    """One workspace package and what its environment may hold.

    Attributes:
        name: of its folder under `packages/`.
        siblings: folder names of the packages that it may bring along.
        only: all distributions that its environment may hold beside itself; empty means any.
        without: distributions that its environment must not hold.
        typed: folder names of the packages whose `tests/typed_program.py` is checked against its environment.
    """

    name: str
    siblings: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    typed: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its sources are."""
        return ROOT / "packages" / self.name

    @property
    def distribution(self) -> str:
        """Its name on an index."""
        return f"sgl-jax-{self.name}"


PACKAGES = (
    Package("engine", without=frozenset(WEB)),
    Package("server", siblings=frozenset({"engine"}), without=frozenset({"sgl-jax-client", "sgl-jax-bench"})),
    Package("client", only=frozenset(HTTPX | PYDANTIC)),
    # The bench brings the client along: one environment, and one run of mypy, for both of their programs.
    Package("bench", siblings=frozenset({"client"}), without=frozenset(DEVICE | WEB), typed=("client", "bench")),
)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command and returns what it printed; ends this program with its output when it fails."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nwheel_smoke: failed: {' '.join(map(str, command))}")
    return done.stdout


def require(condition: bool, problem: str) -> None:
    """Ends this program with `problem` unless the condition holds."""
    if not condition:
        sys.exit(f"wheel_smoke: {problem}")


def build(package: Package, dist: Path) -> Path:
    """Builds the sdist, and the wheel from it, and returns the wheel."""
    run("uv", "build", "--quiet", "--package", package.distribution, "--out-dir", dist)
    stem = package.distribution.replace("-", "_")
    require(len(list(dist.glob(f"{stem}-*.tar.gz"))) == 1, f"no sdist of {package.distribution}")
    [wheel] = dist.glob(f"{stem}-*.whl")
    return wheel


def check_wheel(package: Package, wheel: Path) -> None:
    """Compares the wheel with the sources: every file, the licence, the extras, no namespace breaker."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(
            next(archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        )
    source = package.folder / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    require(expected <= names, f"{wheel.name} lacks {sorted(expected - names)}")
    require("sgl_jax/__init__.py" not in names, f"{wheel.name} has sgl_jax/__init__.py and would hide its siblings")
    require(any(name.endswith("/licenses/LICENSE") for name in names), f"{wheel.name} has no licence")
    project = tomllib.loads((package.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project.get("optional-dependencies", {}))
    require(set(metadata.get_all("Provides-Extra", [])) == extras, f"{wheel.name} does not offer the extras {extras}")


def install(wheel: Path, dist: Path, environment: Path, constraints: Path) -> Path:
    """Installs the wheel and what it declares into a new environment and returns the folder of its programs."""
    run("uv", "venv", "--quiet", "--python", sys.executable, environment)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    options = ("--quiet", "--python", environment, "--find-links", dist, "--constraint", constraints)
    run("uv", "pip", "install", *options, wheel)
    return programs


def installed(environment: Path) -> set[str]:
    """The names of the distributions in an environment."""
    lines = run("uv", "pip", "list", "--quiet", "--format", "freeze", "--python", environment).splitlines()
    return {line.partition("==")[0].partition(" @")[0].lower() for line in lines}


def check_environment(package: Package, environment: Path) -> None:
    """Checks that the environment holds what the package may need, and nothing that it must not."""
    allowed = {package.distribution} | {f"sgl-jax-{name}" for name in package.siblings}
    found = installed(environment)
    siblings = {name for name in found if name.startswith("sgl-jax-")}
    require(siblings == allowed, f"{package.distribution} should bring {allowed}, brought {siblings}")
    require(not found & package.without, f"{package.distribution} must not bring {found & package.without}")
    if package.only:
        extra = found - allowed - package.only
        require(not extra, f"{package.distribution} brings {extra}; declare it in tools/wheel_smoke.py if it is wanted")


def use(package: Package, programs: Path, empty: Path) -> None:
    """Imports every module of the package and asks every console script for help."""
    modules = sorted(f"sgl_jax.{path.parent.name}" for path in package.folder.glob("src/sgl_jax/*/__init__.py"))
    run(programs / "python", "-I", "-W", "error::ImportWarning", "-c", IMPORT_EVERYTHING, *modules, cwd=empty)
    project = tomllib.loads((package.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for script in project.get("scripts", {}):
        started = time.perf_counter()
        output = run(programs / script, "--help", cwd=empty)
        require("usage" in output.lower(), f"{script} --help prints no usage")
        print(f"    {script} --help: {time.perf_counter() - started:.2f} s")


def check_types(package: Package, programs: Path, scratch: Path) -> None:
    """Has mypy check the users' programs, strictly, against the installed packages and nothing else."""
    if not package.typed:
        return
    copies = []
    for name in package.typed:
        copies.append(scratch / f"{name}_program.py")
        copies[-1].write_bytes((ROOT / "packages" / name / "tests" / "typed_program.py").read_bytes())
    options = ("--strict", "--config-file=", f"--cache-dir={scratch / 'mypy'}")
    run(sys.executable, "-m", "mypy", *options, "--python-executable", programs / "python", *copies, cwd=scratch)


def use_sources(package: Package) -> None:
    """Imports the package from its sources in an environment that uv makes for it alone, without the dev group."""
    only = ("--isolated", "--exact", "--no-dev", "--package", package.distribution)
    run("uv", "run", "--quiet", *only, "python", "-c", f"import sgl_jax.{package.name}")


def megabytes(folder: Path) -> float:
    """The size of all files below a folder, in units of 10**6 bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def smoke(package: Package, dist: Path, wheel: Path, scratch: Path) -> None:
    """Puts one package through everything."""
    started = time.perf_counter()
    constraints = scratch / f"{package.name}.txt"
    export = ("--quiet", "--frozen", "--no-dev", "--no-hashes", "--no-emit-workspace", "--no-annotate", "--no-header")
    constraints.write_text(run("uv", "export", *export, "--package", package.distribution), encoding="utf-8")
    environment, empty = scratch / package.name, scratch / "empty"
    empty.mkdir(exist_ok=True)
    programs = install(wheel, dist, environment, constraints)
    size = megabytes(environment)
    check_environment(package, environment)
    use(package, programs, empty)
    check_types(package, programs, scratch)
    use_sources(package)
    count = len(installed(environment))
    print(f"{package.distribution}: {count} distributions, {size:.0f} MB, {time.perf_counter() - started:.1f} s")
    if package.name == "server" and size > SERVER_TARGET_MB:
        print(f"    over the target of {SERVER_TARGET_MB} MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds all packages, then smokes those named (default: all)."""
    parser = argparse.ArgumentParser(description="Builds every package and uses each one alone.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="engine, server, client or bench; default: all")
    names = parser.parse_args(arguments).names
    known = {package.name for package in PACKAGES}
    require(set(names) <= known, f"unknown package {set(names) - known}; there are {sorted(known)}")
    with tempfile.TemporaryDirectory(prefix="wheel-smoke-") as folder:
        scratch = Path(folder)
        wheels = {package: build(package, scratch / "dist") for package in PACKAGES}
        for package, wheel in wheels.items():
            check_wheel(package, wheel)
            if not names or package.name in names:
                smoke(package, scratch / "dist", wheel, scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
