"""Paths and queries as they came over the wire: percent-decoded once, strictly, and never before they are split.

What servers put into `scope["path"]` will not do: there a slash inside a key is one between segments, and bytes that
are no UTF-8 are replaced.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from zdynamo.http.describe import Query
from zdynamo.http.problems import malformed

BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
NUMBER = re.compile(rb"[0-9]{1,18}")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def pattern_of(template: str) -> re.Pattern[bytes]:
    """`/buckets/{bucket}/keys/{key}`: the last placeholder takes the rest of the path, slashes and all."""
    names = PLACEHOLDER.findall(template)
    for name in names:
        what = ".*" if template.endswith(f"{{{name}}}") else "[^/]*"
        template = template.replace(f"{{{name}}}", f"(?P<{name}>{what})")
    return re.compile(template.encode(), re.DOTALL)


def octets(raw: bytes, what: str) -> bytes:
    """Raises: Problem."""
    if b"%" not in raw:
        return raw
    if BAD_PERCENT.search(raw):
        raise malformed(f"the {what} has a % without two hex digits: write it as %25")
    return unquote_to_bytes(raw)


def text(decoded: bytes, what: str) -> str:
    """Raises: Problem."""
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        raise malformed(f"the {what} is not UTF-8") from None


def parse_query(raw: bytes, known: dict[bytes, Query]) -> dict[str, Any]:
    """Each parameter by its name. Raises: Problem for one that is unknown, repeated, or not what it should be."""
    found: dict[str, Any] = {}
    for pair in raw.split(b"&"):
        name, given, value = pair.partition(b"=")
        query = known.get(name)
        if query is None:
            names = ", ".join(query.name for query in known.values()) or "none"
            raise malformed(f"{text(octets(name, 'query'), 'query')!r} is no parameter of this request: it has {names}")
        if query.name in found or not given:
            raise malformed(f"{query.name} is to be given once, as {query.name}=...")
        found[query.name] = _value(query, octets(value.replace(b"+", b" "), query.name))
    return found


def _value(query: Query, value: bytes) -> Any:
    if query.kind == "octets":
        return value
    if query.kind == "text":
        return text(value, query.name)
    if not NUMBER.fullmatch(value) or not query.least <= int(value) <= query.most:
        raise malformed(f"{query.name} is {text(value, query.name)!r}: use a number from {query.least} to {query.most}")
    return int(value)
