"""Compiled programs on disk, found again without tracing them.

JAX's own compile cache spares a second start the compiler, but it is asked with the lowered program, and to trace and
lower a step takes as long as all the rest of a warm start. Here a program is found by what it is made of instead: this
package's source, the versions and flags below it, the model, and the shapes that it is called with. Where one of these
has changed it is traced, and found by its text, if that is still the same.

Two kinds of files: a program, named by its text; and a name, by what a program is made of, which holds that of the
program. Programs are machine code, and unpickled besides: a folder that another user could write to is not used.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import itertools
import logging
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from sgl_jax.engine.config.private_folder import others_may_write
from sgl_jax.engine.execution.xla_options import Options

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = ("jax", "jaxlib", "flax", "numpy")
_DIGEST_BYTES = 32
_MOST_COMPILERS = 16
_UNUSABLE = (
    pickle.PickleError,
    jax.errors.JaxRuntimeError,
    LookupError,
    AttributeError,
    ImportError,
    ValueError,
    TypeError,
)


class ProgramStore:
    """The programs of one model on its devices. Threads may compile at the same time.

    Args:
        model: describes all that shapes a program and is not visible in the shapes of its arguments.
        devices: what programs run on, in the order of their mesh if they are several.
        folder: where they lie; None keeps none.
        options: for the compiler, see `xla_options`.
    """

    def __init__(
        self, model: str, devices: Sequence[jax.Device], folder: Path | None, options: Options | None = None
    ) -> None:
        self._devices = devices
        self._folder = folder
        self._options = dict(options or {})
        self._surroundings = f"{_surroundings(devices)}\n{sorted(self._options.items())}"
        self._model = model
        self._compilers = threading.Semaphore(_compilers(devices[0].platform))
        self._hits = itertools.count()
        self.hits = 0

    def compile(
        self, name: str, function: Callable[..., Any], *arguments: Any, donate: tuple[int, ...] = ()
    ) -> jax.stages.Compiled:
        """The program of a pure function: from the folder, or compiled and left there.

        Args:
            name: tells apart functions called with the same shapes.
            function: traced only when the folder does not know it.
            arguments: arrays, or their shapes with shardings.
            donate: numbers of the arguments that are updated in place.
        """
        made_of = self._digest(_source_digest(), self._model, name, _shapes(arguments), donate)
        program = self._read(self._named(made_of))
        if program is None:
            lowered = jax.jit(function, donate_argnums=donate).lower(*arguments)
            # What a program leaves unused is not in its text, yet it must be called with it.
            text = self._digest(lowered.as_text(), _shapes(arguments))
            program = self._read(text)
            if program is None:
                program = self._compile(lowered, text)
            self._write(made_of, text.encode())
        return program

    def _compile(self, lowered: jax.stages.Lowered, text: str) -> jax.stages.Compiled:
        before = _listener.heard
        with self._compilers:
            program = compile_with(lowered, self._options)
        if _listener.heard > before:
            # What XLA:CPU read from JAX's cache it cannot write again: functions are missing in the copy.
            self._count()
        else:
            try:
                self._write(text, pickle.dumps(serialize_executable.serialize(program)))
            except (*_UNUSABLE, NotImplementedError) as error:
                logger.debug("this program cannot be stored: %s", error)
        return program

    def _digest(self, *parts: object) -> str:
        return hashlib.sha256("\n".join([self._surroundings, *map(str, parts)]).encode()).hexdigest()

    def _named(self, made_of: str) -> str | None:
        stored = self._load(made_of)
        return None if stored is None else stored.decode()

    def _read(self, text: str | None) -> jax.stages.Compiled | None:
        stored = None if text is None else self._load(text)
        if stored is None:
            return None
        try:
            payload, in_tree, out_tree = pickle.loads(stored)
            program = serialize_executable.deserialize_and_load(
                payload, in_tree, out_tree, backend=self._devices[0].client, execution_devices=self._devices
            )
        except _UNUSABLE as error:
            logger.warning("a stored program is of no use and is compiled again: %s", error)
            return None
        self._count()
        return program

    def _count(self) -> None:
        self.hits = next(self._hits) + 1

    def _load(self, name: str) -> bytes | None:
        """A file's content, if it is there and whole."""
        if self._folder is None:
            return None
        try:
            stored = (self._folder / name).read_bytes()
        except OSError:
            return None
        content = stored[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() == stored[:_DIGEST_BYTES]:
            return content
        logger.warning("a damaged file in %s is written again", self._folder)
        return None

    def _write(self, name: str, content: bytes) -> None:
        """Leaves a file behind, whole or not at all; that it cannot be stored hurts nobody now."""
        if self._folder is None:
            return
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(file.name, self._folder / name)
        except OSError as error:
            logger.debug("a compiled program could not be stored: %s", error)


def compile_with(lowered: jax.stages.Lowered, options: Options) -> jax.stages.Compiled:
    """Compiles with XLA's options, without those that its version does not know."""
    known = dict(options)
    while True:
        try:
            return lowered.compile(compiler_options=known or None)
        except jax.errors.JaxRuntimeError as error:
            unknown = next((name for name in known if f"No such compile option: '{name}'" in str(error)), None)
            if unknown is None:
                raise
            logger.info("this version of XLA has no option %s; programs are compiled without it", unknown)
            del known[unknown]


def _compilers(platform: str) -> int:
    """How many programs to compile at a time: on CPU each takes 200 MB, and XLA shares its work among two cores."""
    return max((os.cpu_count() or 1) // 2, 1) if platform == "cpu" else _MOST_COMPILERS


def own_folder(path: Path | None) -> Path | None:
    """The folder, made if it is missing; None, and a word in the log, where others may write to it."""
    if path is None:
        return None
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_open = others_may_write(path)
    except OSError as error:
        logger.warning("compiled programs are not kept: %s", error)
        return None
    if is_open:
        logger.warning("compiled programs are not kept: others may write to %s (chmod go-w it)", path)
        return None
    return path


def _shapes(arguments: tuple[Any, ...]) -> str:
    leaves, tree = jax.tree.flatten(arguments)
    return f"{tree} {[(leaf.shape, str(leaf.dtype)) for leaf in leaves]}"


def _surroundings(devices: Sequence[jax.Device]) -> str:
    """What programs depend on, besides what they compute."""
    device, numbers = devices[0], [device.id for device in devices]
    return "\n".join(
        [
            *(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES),
            f"{device.platform} {device.device_kind} {numbers} {device.client.platform_version}",
            _processor(),
            os.environ.get("XLA_FLAGS", ""),
            f"{jax.config.jax_default_matmul_precision} {jax.config.jax_enable_x64}",  # type: ignore[attr-defined]
        ]
    )


class _Listener(threading.local):
    """Hears, in each thread, when JAX found a program in its own cache; it cannot be asked."""

    heard = 0

    def __call__(self, event: str, **_: object) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            self.heard += 1


_listener = _Listener()
jax.monitoring.register_event_listener(_listener)


@functools.cache
def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in {".py", ".cc", ".h"}:
            digest.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _processor() -> str:
    """What code for this machine may use; a home folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
