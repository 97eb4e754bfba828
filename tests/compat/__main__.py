"""Other people's clients against a real server, each in an environment of its own: `uv run python -m tests.compat`.

They are no part of the workspace's lock: some pull in more than the workspace itself. The first run installs them from
the package index, so that CI does not run this; `docs/guides/clients.md` says more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server_process import ServerProcess

HERE = Path(__file__).parent
REAL = ("--served-model-name=smollm2", "--tool-call-parser=hermes")
FAKE = ("--served-model-name=smollm2", "--device=fake", "--max-seq-len=256", "--skip-server-warmup")
"""Whose engine computes nothing."""
VENVS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sgl-jax-compat"


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""Of schemathesis. What the schema alone takes for right or wrong is not asked: models have bounds of their own."""


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody's client.

    Attributes:
        packages: what pip installs for it.
        command: a program of its environment with arguments, `{url}` for the server's; it must end with 0.
        flags: of its server.
    """

    packages: tuple[str, ...]
    command: tuple[str, ...]
    flags: tuple[str, ...] = REAL


def _script(name: str, *packages: str) -> Client:
    return Client(packages, ("python", str(HERE / name), "{url}"))


CLIENTS = {
    "langchain": _script("langchain_client.py", "langchain-openai>=1.1,<2"),
    "litellm": _script("litellm_client.py", "litellm>=1.106,<2", "mcp"),
    "lm-eval": _script("lm_eval_client.py", "lm-eval[api]>=0.4.13,<0.5"),
    "schemathesis": Client(
        ("schemathesis>=4.32,<5",),
        (
            *(
                "st",
                "run",
                "{url}/openapi.json",
                "--phases=examples,coverage,fuzzing",
                "--max-examples=100",
                "--workers=2",
            ),
            f"--checks={','.join(CHECKS)}",
            *(
                "--suppress-health-check=all",
                "--request-timeout=30",
                "--max-response-time=2",
                "--seed=1",
                "--warnings=off",
                "--exclude-path=/pause_generation",  # after it, nothing that generates would be answered
            ),
        ),
        FAKE,
    ),
}


def install(name: str, client: Client, venvs: Path) -> Path:
    """The folder with the client's programs, installed if they are not there yet."""
    venv = venvs / name
    python = venv / "bin" / "python"
    if not python.exists():
        venvs.mkdir(parents=True, exist_ok=True)
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *client.packages], check=True)
    return python.parent


@contextmanager
def served(url: str | None, flags: tuple[str, ...]) -> Iterator[str]:
    """A server's URL: the one given, or that of one with these flags that lives as long as this."""
    if url is not None:
        yield url.rstrip("/")
        return
    log = Path(tempfile.mkdtemp(prefix="compat-")) / "log"
    server = ServerProcess(log, *flags, environ={})
    try:
        server.wait_ready()
        yield server.url
    finally:
        server.close()


def run(client: Client, programs: Path, url: str | None) -> bool:
    """Whether the client was content."""
    with served(url, client.flags) as base, tempfile.TemporaryDirectory() as folder:  # some leave files where they run
        program, *arguments = (word.format(url=base) for word in client.command)
        print("\n==", program, *arguments, flush=True)
        environ = {**os.environ, "OPENAI_API_KEY": "none", "NO_COLOR": "1"}
        done = subprocess.run([str(programs / program), *arguments], cwd=folder, env=environ, check=False)
        return done.returncode == 0


def main() -> int:
    """Runs the clients; the exit status says whether all were content."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", help=f"of {', '.join(CLIENTS)}; all by default")
    parser.add_argument("--url", help="a running server, which serves SmolLM2 as `smollm2`; the default starts one")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="where the environments are kept")
    options = parser.parse_args()
    names = options.clients or list(CLIENTS)
    programs = {name: install(name, CLIENTS[name], options.venvs) for name in names}
    results = {name: run(CLIENTS[name], programs[name], options.url) for name in names}
    print("\n" + "\n".join(f"{name}: {'ok' if good else 'FAILED'}" for name, good in results.items()))
    return not all(results.values())


if __name__ == "__main__":
    sys.exit(main())
