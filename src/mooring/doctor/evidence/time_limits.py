"""Limits on time that people meet without having set them, and how a time is written."""

from __future__ import annotations

from typing import Final

from mooring.doctor.proxies import Proxy

_LIMITS: Final = (
    (15.0, "Envoy's route timeout"),
    (20.0, "Azure Application Gateway's request timeout"),
    (29.0, "Amazon API Gateway's integration timeout"),
    (30.0, "Google Cloud's backend service timeout"),
    (30.0, "CloudFront's response timeout"),
    (50.0, "HAProxy's `timeout server` in many examples"),
    (55.0, "Heroku's router"),
    (60.0, "nginx's proxy_read_timeout"),
    (60.0, "AWS ALB's idle timeout"),
    (100.0, "Cloudflare's read timeout, until 2025"),
    (120.0, "Cloudflare's read timeout"),
    (230.0, "Azure App Service's idle timeout"),
    (240.0, "Azure Container Apps' request timeout"),
    (300.0, "Envoy's stream_idle_timeout"),
    (300.0, "Cloud Run's request timeout"),
    (350.0, "AWS NLB's idle timeout"),
)
_OF_PROXY: Final = {
    Proxy.NGINX: (60.0, "nginx, where it is not told otherwise,"),
    Proxy.ALB: (60.0, "AWS ALB, where it is not told otherwise,"),
    Proxy.KONG: (60.0, "Kong, where it is not told otherwise,"),
    Proxy.APACHE: (60.0, "Apache, where it is not told otherwise,"),
    Proxy.IIS: (120.0, "IIS with ARR, where it is not told otherwise,"),
    Proxy.CLOUDFLARE: (120.0, "Cloudflare"),
    Proxy.AZURE: (240.0, "Azure (230 s in App Service, 240 s in Container Apps)"),
    Proxy.ENVOY: (300.0, "Envoy, where it is not told otherwise,"),
    Proxy.GCLB: (300.0, "Google's load balancer with Cloud Run"),
}
_BEFORE_SECONDS: Final = 0.5
_AFTER_SECONDS: Final = 0.9
"""A limit is noticed a little late, and counted from a little before or after our own clock's start."""


def known_limits(*seconds: float) -> list[str]:
    """The limits, by default or by nature, that fit one of these times."""
    return [
        name
        for limit, name in _LIMITS
        if any(limit - _BEFORE_SECONDS <= one <= limit + _AFTER_SECONDS for one in seconds)
    ]


def limit_of(proxy: Proxy | None) -> tuple[float, str] | None:
    """The limit on silence that is known of that proxy, in seconds, and whose it is."""
    return _OF_PROXY.get(proxy) if proxy is not None else None


def duration(seconds: float) -> str:
    """`35 s`, `3.2 s`, `300 ms`."""
    if seconds < 0.95:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.0f} s" if seconds >= 9.5 or abs(seconds - round(seconds)) < 0.05 else f"{seconds:.1f} s"
