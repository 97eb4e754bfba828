"""What can go wrong between here and the hub, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sgl_jax.engine.errors import ModelLoadError


@contextmanager
def explained(repo: str, revision: str | None, cache: Path | None) -> Iterator[None]:
    """Turns whatever the hub's library raises into a `ModelLoadError`; our own errors pass."""
    try:
        yield
    except ModelLoadError:
        raise
    except Exception as error:  # the library raises its own errors, its HTTP client's, and OSError
        raise ModelLoadError(_explain(error, repo, revision, cache)) from error


def _explain(error: Exception, repo: str, revision: str | None, cache: Path | None) -> str:
    from huggingface_hub import constants, errors

    place = cache or constants.HF_HUB_CACHE
    page = f"{constants.ENDPOINT}/{repo}"
    match error:
        case errors.GatedRepoError():
            return (
                f"{repo} is gated: accept its terms at {page}, then give a token of that account "
                "(HF_TOKEN=…, or `hf auth login`)."
            )
        case errors.RepositoryNotFoundError():
            return (
                f"There is no folder {repo!r} here, and no model of that name on the hub ({page}). Check the spelling; "
                "a private model needs a token (HF_TOKEN=…, or `hf auth login`)."
            )
        case errors.RevisionNotFoundError():
            return f"{repo} has no revision {revision!r}; give a branch, tag or commit of {page} with --revision."
        case errors.HFValidationError():
            return f"{repo!r} is neither an existing path nor a possible hub id: {error}"
        case OSError(errno=errno.ENOSPC):
            return f"The disk of {place} is full. Make room there, or choose another place with --download-dir."
        case PermissionError():
            return f"{place} cannot be written to ({error}). Choose another place with --download-dir."
    if constants.HF_HUB_OFFLINE:
        return (
            f"{repo} is not (or not wholly) in {place}, and HF_HUB_OFFLINE forbids to ask the hub. Unset it, or fetch "
            f"the model where there is a network: hf download {repo}"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return f"The hub refused {repo}: {_short(error)}. Try again later, or see {page}."
    return (
        f"{repo} could not be fetched from {constants.ENDPOINT} ({_short(error)}), and it is not wholly in {place}. "
        "Check the network (proxies: HTTPS_PROXY; mirrors: HF_ENDPOINT), or give a local folder."
    )


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
