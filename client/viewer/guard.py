"""Who may talk to the gateway, and what its pages may do.

Any page in the same browser can send requests to loopback. Two facts tell ours from theirs: the Host header names
this machine (a rebound DNS name does not), and the Origin header of a socket or request names the host it goes to.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sonod.client.viewer.options import is_loopback

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def host_refusal(host: str | None) -> str | None:
    """Why a request with this Host header is refused; None when it is not. Any port is good: tunnels change it."""
    name = None if host is None else _host_name(host)
    if name is None or not is_loopback(name):
        return f"Host {_shown(host)} is not this machine; use http://127.0.0.1:PORT/"
    return None


def origin_refusal(origin: str | None, host: str | None) -> str | None:
    """Why a request from a page of this Origin is refused; None when the page is our own."""
    if origin is None:
        return "Origin missing; only the viewer page may ask"
    scheme, separator, place = origin.partition("://")
    if scheme not in ("http", "https") or not separator or host is None or place.lower() != host.lower():
        return f"Origin {_shown(origin)} is not the viewer page"
    return None


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _shown(value: str | None) -> str:
    return "(none)" if value is None else repr(value[:80])
