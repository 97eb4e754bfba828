"""Models named by a Hugging Face hub id: which files of the repository are wanted, and how they get here.

Only data is ever fetched: JSON, Jinja, safetensors or one GGUF file, from the top of the repository. Code and pickles
stay where they are. Files land in the hub's own cache, so that every program that reads it shares them.
"""

from __future__ import annotations

import glob
import logging
import re
import shutil
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from sgl_jax.engine.config.hub_errors import explained
from sgl_jax.engine.config.hub_id import HubModel
from sgl_jax.engine.config.hub_progress import meter_class
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.plan import ProgressCallback

logger = logging.getLogger(__name__)

TEXTS = ("*.json", "*.jinja", "*_Pooling/config.json")
"""Config, index, tokenizer, chat template; and how a sentence-embedding model pools."""
WEIGHTS = ("*.safetensors",)
NOT_WANTED = ("consolidated*", "adapter_*")
"""The same weights again in their maker's own layout, and what is no model by itself."""
LISTING_SECONDS = 20
"""How long the hub may take to say what a repository holds, before the cache is asked."""

_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_SPARE_BYTES = 64 << 20


class Listing(NamedTuple):
    """What a repository holds.

    Attributes:
        sizes: path -> bytes, 0 where unknown.
        commit: the revision's hash; None when the hub did not answer and this is what the cache holds.
    """

    sizes: dict[str, int]
    commit: str | None


def fetch(
    model: HubModel,
    *,
    load_format: str = "auto",
    revision: str | None = None,
    download_dir: str | None = None,
    texts_only: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
) -> Path:
    """Brings a model here, as far as it is not here yet.

    `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and the proxy variables mean what they mean to every program
    that uses the hub. When the hub cannot be reached, what is in the cache is used.

    Args:
        model: which.
        load_format: as in `EngineConfig`; `dummy` needs no weights.
        revision: branch, tag or commit; None is the main branch.
        download_dir: the cache; None is the hub's own.
        texts_only: leave the weights (a GGUF file is text and weights in one).
        on_progress: hears of megabytes, in the threads that download, one call at a time.

    Returns:
        The model's folder or GGUF file.

    Raises:
        ModelLoadError: saying what to do: not found, gated, no network and not in the cache, disk full, no such file.
    """
    from huggingface_hub import snapshot_download  # half a second, and most models are local

    cache = None if download_dir is None else Path(download_dir).expanduser()
    with explained(model.repo, revision, cache):
        listing = _listing(model.repo, revision, cache)
        wanted = choose_files(model, listing.sizes, load_format, texts_only=texts_only)
        total = 0 if listing.commit is None else _check_room(model.repo, listing, wanted, cache)
        if total:
            logger.info("downloading %s: %d files, %.0f MB", model.repo, len(wanted), total / 1e6)
        folder = snapshot_download(
            model.repo,
            revision=revision,
            cache_dir=cache,
            allow_patterns=[glob.escape(name) for name in wanted],
            local_files_only=listing.commit is None,
            library_name="sgl-jax",
            tqdm_class=meter_class(total, on_progress),
        )
    is_gguf = len(wanted) == 1 and wanted[0].endswith(".gguf")
    return Path(folder) / wanted[0] if is_gguf else Path(folder)


def choose_files(model: HubModel, names: Collection[str], load_format: str, *, texts_only: bool = False) -> list[str]:
    """The files that are needed, of all files that a repository has.

    Raises:
        ModelLoadError: there is no model in it that can be loaded, or there are several.
    """
    ggufs = [name for name in names if name.endswith(".gguf") and (name == model.file or not _SPLIT.search(name))]
    if model.file is not None:
        if model.file not in ggufs:
            raise ModelLoadError(f"{model.repo} has no file {model.file!r}. {_choices(model, ggufs)}")
        return [model.file]
    weights = [
        name
        for name in names
        if "/" not in name and _matches(name, WEIGHTS) and not any(fnmatch(name, out) for out in NOT_WANTED)
    ]
    if load_format == "gguf" or (load_format == "auto" and ggufs and not weights):
        if len(ggufs) != 1:
            raise ModelLoadError(f"{model.repo} has {len(ggufs) or 'no'} .gguf files. {_choices(model, ggufs)}")
        return ggufs
    texts = [name for name in names if _matches(name, TEXTS)]
    if texts_only or load_format == "dummy":
        return texts
    if not weights:
        pickled = any(name.endswith((".bin", ".pth", ".pt")) for name in names)
        why = "only pickled ones, which are never loaded: convert them to safetensors" if pickled else "no such files"
        raise ModelLoadError(f"{model.repo} has no weights in safetensors form, {why}.")
    return texts + weights


def _matches(name: str, patterns: Sequence[str]) -> bool:
    # `*` must not reach into folders: they hold other forms of the same model.
    return any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def _choices(model: HubModel, ggufs: Sequence[str]) -> str:
    if not ggufs:
        return "It has no GGUF file that is whole."
    shown = ", ".join(f"{model.repo}:{name}" for name in sorted(ggufs)[:12])
    return f"Choose one with --model-path: {shown}{', …' if len(ggufs) > 12 else ''}"


def _listing(repo: str, revision: str | None, cache: Path | None) -> Listing:
    from huggingface_hub import HfApi, errors, snapshot_download

    final = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
    try:
        info = HfApi(library_name="sgl-jax").model_info(
            repo, revision=revision, files_metadata=True, timeout=LISTING_SECONDS
        )
    except final:
        raise
    except Exception as error:  # noqa: BLE001 - no network, HF_HUB_OFFLINE, a hub in trouble: the cache must do
        try:
            folder = snapshot_download(
                repo, revision=revision, cache_dir=cache, allow_patterns=[], local_files_only=True
            )
        except errors.LocalEntryNotFoundError:
            raise error from None
        logger.info("the hub was not asked about %s (%s); using what is in the cache", repo, _first_line(error))
        paths = (path for path in Path(folder).rglob("*") if path.is_file())
        return Listing({path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}, None)
    return Listing({file.rfilename: file.size or 0 for file in info.siblings or ()}, info.sha)


def _check_room(repo: str, listing: Listing, wanted: Sequence[str], cache: Path | None) -> int:
    """Bytes that have yet to come.

    Raises:
        ModelLoadError: the disk has no room for them.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    missing = sum(
        listing.sizes[name]
        for name in wanted
        if not isinstance(try_to_load_from_cache(repo, name, cache_dir=cache, revision=listing.commit), str)
    )
    folder = cache or Path(constants.HF_HUB_CACHE)
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if missing and missing + _SPARE_BYTES > free:
        raise ModelLoadError(
            f"{repo} needs {missing / 1e9:.1f} GB more, and the disk of {folder} has {free / 1e9:.1f} GB left. "
            "Make room there, or choose another place with --download-dir."
        )
    return missing


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
