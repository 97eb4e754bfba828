"""A Hugging Face hub in miniature: serves the folders of this machine as model repositories, on 127.0.0.1.

    python -m tools.fake_hub ORG/NAME=/some/folder [ORG/OTHER=/other/folder] --port 8999
    HF_ENDPOINT=http://127.0.0.1:8999 sgl-jax serve --model-path ORG/NAME

It speaks what `huggingface_hub.snapshot_download` asks for and no more. For tests, which may not reach the network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """One repository.

    Attributes:
        folder: its files.
        gated: its list of files is public and its files are not, as with real gated models.
        revisions: names under which its one commit is known.
    """

    folder: Path
    gated: bool = False
    revisions: tuple[str, ...] = ("main",)

    @property
    def commit(self) -> str:
        """A hash of 40 digits, as git would have."""
        return hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()

    @property
    def files(self) -> dict[str, int]:
        """Path -> size."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}


@dataclass
class FakeHub:
    """A running hub.

    Attributes:
        url: its address, for `HF_ENDPOINT`.
        repos: repositories by id; may be changed at any time.
        downloads: paths of the files that were sent, in order.
        broken: answer every request with 500.
    """

    url: str
    repos: dict[str, Repo]
    downloads: list[str] = field(default_factory=list)
    broken: bool = False


@contextmanager
def fake_hub(repos: Mapping[str, Repo], port: int = 0) -> Iterator[FakeHub]:
    """Runs a hub for as long as the context lasts."""
    hub = FakeHub("", dict(repos))

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.state.broken:
            self._send(500, b"trouble")
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._send(404, b"")

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self.state.repos.get(name)
        if repo is None:
            # The real one does not tell strangers whether a repository is private or does not exist, either.
            self._refuse(401, "RepoNotFound")
            return
        kind, revision = (rest[0], rest[1]) if len(rest) >= 2 else ("revision", "main")
        if revision not in (*repo.revisions, repo.commit):
            self._refuse(404, "RevisionNotFound")
        elif kind == "tree":
            tree = [
                {"type": "file", "path": path, "size": size, "oid": _etag(repo, path)}
                for path, size in repo.files.items()
            ]
            self._json(tree)
        else:
            siblings = [{"rfilename": path, "size": size} for path, size in repo.files.items()]
            self._json({"id": name, "modelId": name, "sha": repo.commit, "siblings": siblings, "tags": []})

    def _file(self, name: str, revision: str, path: str) -> None:
        repo = self.state.repos.get(name)
        if repo is None or path not in repo.files:
            self._refuse(404, "RepoNotFound" if repo is None else "EntryNotFound")
            return
        if repo.gated:
            self._refuse(401, "GatedRepo")
            return
        if self.command == "GET":
            self.state.downloads.append(path)
        body = (repo.folder / path).read_bytes()
        self._send(200, body, {"ETag": f'"{_etag(repo, path)}"', "X-Repo-Commit": repo.commit})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(repo: Repo, path: str) -> str:
    return hashlib.sha1((repo.folder / path).read_bytes(), usedforsecurity=False).hexdigest()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Serve local folders as Hugging Face model repositories.")
    parser.add_argument("repos", nargs="+", metavar="ORG/NAME=FOLDER")
    parser.add_argument("--port", type=int, default=8999)
    options = parser.parse_args()
    repos = {name: Repo(Path(folder)) for name, _, folder in (repo.partition("=") for repo in options.repos)}
    with fake_hub(repos, options.port) as hub:
        print(f"HF_ENDPOINT={hub.url}")
        threading.Event().wait()


if __name__ == "__main__":
    main()
