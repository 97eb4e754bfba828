"""The page's files, read once, each with the headers that it is sent with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        # The browser itself refuses to make HTML of a string, wherever one should slip into innerHTML.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent.

    Attributes:
        etag: changes when the content does, quoted as the header wants it.
    """

    content: bytes
    media_type: str
    etag: str

    @property
    def headers(self) -> Mapping[str, str]:
        """For an answer with this file. Browsers keep it, and ask each time whether it is still the one."""
        return {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Content-Type": self.media_type,
            "ETag": self.etag,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def is_known(self, if_none_match: str) -> bool:
        """Whether a browser that sent this `If-None-Match` has the file already."""
        known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return bool(known & {"*", self.etag})


def read_page() -> Mapping[str, PageFile]:
    """Every file by its name. Whatever is not in here cannot be asked for."""
    files = {}
    for entry in resources.files(__package__).joinpath("static").iterdir():
        _, dot, ending = entry.name.rpartition(".")
        if (media_type := MEDIA_TYPES.get(dot + ending)) is not None:
            content = entry.read_bytes()
            files[entry.name] = PageFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return files
