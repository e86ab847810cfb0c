"""The load balancers that the doctor recognises by their answers, and has advice for."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Proxy(enum.StrEnum):
    """A load balancer; the value is how people write its name."""

    TRAEFIK = "Traefik"
    NGINX = "nginx"
    HAPROXY = "HAProxy"
    ENVOY = "Envoy"
    CADDY = "Caddy"
    ALB = "AWS ALB"
    GCLB = "Google Cloud Load Balancing"
    AZURE = "Azure"
    CLOUDFLARE = "Cloudflare"
    APACHE = "Apache"
    IIS = "IIS"
    KONG = "Kong"

    @property
    def key(self) -> str:
        """Its name in the table of texts: `haproxy`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Front:
    """Who meets clients, and who else is on the way, as far as their answers give it away.

    Attributes:
        proxy: the load balancer that meets clients; None where it is not known.
        server: what answers for itself, with no proxy before it that reads requests: `uvicorn`.
        behind: others that have left a sign in headers, and do not meet clients.
    """

    proxy: Proxy | None = None
    server: str = ""
    behind: tuple[Proxy, ...] = ()
