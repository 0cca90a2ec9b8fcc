"""What browsers must not do here for pages of other sites that their users have open.

Such a page may send what it likes to this machine, but says where it comes from (`Origin`, `Sec-Fetch-Site`). It may
also have its own name resolve to this machine (DNS rebinding); then it is the name, in `Host`, that gives it away.
"""

import functools
import ipaddress
from collections.abc import Iterable

from zdynamo.http.problems import Problem

Headers = Iterable[tuple[bytes, bytes]]


def check_host(headers: Headers, names: frozenset[str]) -> None:
    """That the request was sent to a number, to localhost or to one of these names. Raises: Problem."""
    for name, value in headers:
        if name == b"host" and not _is_ours(value, names):
            message = (
                f"{_host_of(value)[:100]!r} is no name of this process, which listens on loopback: use localhost, or "
                "add the name to node.http_names (of a gateway: --name)"
            )
            raise Problem(403, "unknown_host", message)


def check_origin(headers: Headers) -> None:
    """That the request comes from no page of another site. Raises: Problem."""
    origin = host = site = b""
    for name, value in headers:
        if name == b"origin":
            origin = value
        elif name == b"host":
            host = value
        elif name == b"sec-fetch-site":
            site = value
    if (origin and origin.partition(b"://")[2] != host) or site == b"cross-site":
        raise Problem(403, "cross_origin", "pages of other sites may neither write nor listen here")


@functools.lru_cache(maxsize=256)
def _is_ours(host: bytes, names: frozenset[str]) -> bool:
    name = _host_of(host)
    if not name or name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _host_of(value: bytes) -> str:
    """Without the port, in small letters."""
    host, colon, port = value.decode("latin-1").lower().rpartition(":")
    return host if colon and (port.isdigit() or not port) else value.decode("latin-1").lower()
