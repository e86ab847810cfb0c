"""Azure Container Apps: the command lines that set an app's ingress as MCP needs it, as data.

There is nothing to route there: the platform's load balancer knows a cookie and nothing else, and replicas cannot reach
each other. So these lines are all that can be said to it. They were checked against the parser of Azure's command line,
and never run in a subscription.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from mooring.errors import MooringError

_STOP_MARGIN_SECONDS: Final = 30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._()-]{0,89}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AzureApp:
    """An app that is there already.

    Attributes:
        mcp_path: the path of its endpoint.
        min_replicas: how many replicas there are at least.
        stop_seconds: how long running requests may go on when one is stopped (`--stop-seconds`).

    Raises:
        MooringError: a name that Azure has none of.
    """

    name: str
    resource_group: str
    mcp_path: str = "/mcp"
    min_replicas: int = 2
    stop_seconds: int = 60

    def __post_init__(self) -> None:
        for value in (self.name, self.resource_group):
            if not _NAME.fullmatch(value):
                raise MooringError(f"{value!r} is no name of an app or a resource group")


@dataclass(frozen=True, slots=True)
class Line:
    """What a command is for, and its words."""

    reason: str
    words: tuple[str, ...]


def lines_for(app: AzureApp) -> tuple[Line, ...]:
    """What to run, in this order, and what then shows that it holds."""
    whose = ("--name", app.name, "--resource-group", app.resource_group)
    update = (
        *("az", "containerapp", "update", *whose),
        *("--min-replicas", str(app.min_replicas)),
        *("--termination-grace-period", str(app.stop_seconds + _STOP_MARGIN_SECONDS)),
        *("--set-env-vars", "MOORING_PEER_LINK=redis"),
    )
    show = ("az", "containerapp", "show", *whose, "--output", "tsv", "--query")
    ingress = "properties.configuration.ingress"
    return (
        Line(
            "One revision at a time: Azure ignores stickiness where traffic is split.",
            ("az", "containerapp", "revision", "set-mode", *whose, "--mode", "single"),
        ),
        Line("Replicas reach each other through Redis alone, and a stopped one gets time for what it runs.", update),
        Line(
            "Azure's cookie, which saves a hop for clients that keep cookies. Last: an update by azurerm undoes it.",
            ("az", "containerapp", "ingress", "sticky-sessions", "set", *whose, "--affinity", "sticky"),
        ),
        Line("To verify. This says sticky:", (*show, f"{ingress}.stickySessions.affinity")),
        Line("this Single:", (*show, "properties.configuration.activeRevisionsMode")),
        Line("this Auto or Http, and not Tcp:", (*show, f"{ingress}.transport")),
        Line("and this is where the app is:", (*show, f"{ingress}.fqdn")),
        Line(
            "It says which clients the cookie alone would have lost:",
            ("mooring", "doctor", f"https://FQDN{app.mcp_path}"),
        ),
    )


def dump(app: AzureApp) -> str:
    """The lines, for a shell."""
    return "".join(f"# {line.reason}\n{shlex.join(line.words)}\n" for line in lines_for(app))
