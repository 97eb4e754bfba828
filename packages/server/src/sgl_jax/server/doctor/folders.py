"""The folders that the server writes to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sgl_jax.engine.execution.device_env import programs_folder
from sgl_jax.server.doctor.finding import Finding, gigabytes
from sgl_jax.server.ipc.private_folder import temporary_folder

LITTLE = 1_000_000_000
_TOPIC = "folders"


def check_folders(environ: Mapping[str, str], download_dir: str | None = None) -> Iterator[Finding]:
    """Compiled steps, downloaded models, sockets."""
    folder = programs_folder(environ)
    if folder is None:
        advice = "unset JAX_COMPILATION_CACHE_DIR"
        yield Finding(
            topic=_TOPIC,
            name="compiled steps",
            value="kept nowhere: every start compiles",
            grade="warning",
            advice=advice,
        )
    else:
        yield _folder("compiled steps", folder, "SGL_JAX_CACHE_DIR=FOLDER keeps them elsewhere")
    hub = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    folder = Path(download_dir) if download_dir else Path(environ.get("HF_HUB_CACHE") or hub)
    yield _folder("models of the hub", folder, "--download-dir=FOLDER keeps them elsewhere")
    yield _folder("sockets", temporary_folder(), "TMPDIR=FOLDER puts them elsewhere", is_ours=False)


def _folder(name: str, folder: Path, advice: str, *, is_ours: bool = True) -> Finding:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        value = f"{folder} cannot be written: {error.strerror}"
        return Finding(topic=_TOPIC, name=name, value=value, grade="failure", advice=advice)
    free = shutil.disk_usage(existing).free
    held = f" {_held(folder)};" if is_ours else ""
    value = f"{folder}:{held} {gigabytes(free)} left on the disk"
    little = free < LITTLE
    return Finding(
        topic=_TOPIC, name=name, value=value, grade="warning" if little else "ok", advice=advice if little else None
    )


def _held(folder: Path) -> str:
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return f"{len(files)} files, {gigabytes(sum(file.lstat().st_size for file in files if file.exists()))}"
