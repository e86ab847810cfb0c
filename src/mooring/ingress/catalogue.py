"""Every load balancer that Mooring writes a configuration for, in the order in which they are listed."""

from __future__ import annotations

from typing import Final

from mooring.ingress import caddy, envoy, haproxy, nginx, traefik
from mooring.ingress.proxy import Proxy

PROXIES: Final[tuple[Proxy, ...]] = (traefik, nginx, haproxy, caddy, envoy)
