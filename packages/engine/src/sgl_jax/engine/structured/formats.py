"""String formats of JSON schema: which ones are kept to, and by what."""

from __future__ import annotations

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
# By 4 and not by 100, or by 400.
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY_TO_31 = r"(?:0[1-9]|[12][0-9]|3[01])"
_DAY_TO_30 = r"(?:0[1-9]|[12][0-9]|30)"
_DAY_TO_28 = r"(?:0[1-9]|1[0-9]|2[0-8])"
_MONTH_AND_DAY = rf"(?:(?:0[13578]|1[02])-{_DAY_TO_31}|(?:0[469]|11)-{_DAY_TO_30}|02-{_DAY_TO_28})"
_DATE = rf"(?:{_YEAR}-{_MONTH_AND_DAY}|{_LEAP_YEAR}-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"

PATTERNS = {
    # The grammar library has these three too, but takes the 29th of February of any year, and leap seconds at any time.
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$",
}
"""Formats that are replaced by a pattern."""

NARROWER = {"idn-email": "email", "idn-hostname": "hostname", "iri": "uri"}
"""Formats replaced by one whose every string is a string of theirs."""

KEPT = frozenset({"duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
"""Formats that the grammar library keeps to."""

UNSUPPORTED = frozenset({"iri-reference", "regex", "uri-reference", "uri-template"})
"""Formats of the standard that nothing here keeps to. Any other name says nothing that could be checked."""
