"""The load balancers that the doctor recognises by their answers, and has advice for."""

from __future__ import annotations

import enum


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

    @property
    def key(self) -> str:
        """Its name in the table of texts: `haproxy`."""
        return self.name.lower()
