"""`mooring ingress`: the configuration for the operator's own load balancer, of whatever kind.

One command for each, all with the same options; what only one has is in a module of its own.
"""

from mooring.cli.ingress.command import app

__all__ = ["app"]
