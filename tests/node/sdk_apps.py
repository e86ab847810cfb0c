"""Apps of SDK v2: one for everybody, and one for two people who have three tokens."""

from __future__ import annotations

from typing import Any

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from pydantic import AnyHttpUrl

from mooring.asgi import App


def sdk_app(idle_seconds: float | None = None, **options: Any) -> App:
    server = MCPServer("test", **options)

    @server.tool()
    def whoami(ctx: Context[Any]) -> str:
        return (ctx.headers or {}).get("mcp-session-id", "")

    return server.streamable_http_app(session_idle_timeout=idle_seconds)


class Tokens:
    """Knows three tokens; two are of one person."""

    async def verify_token(self, token: str) -> AccessToken | None:
        subject = {"alice-1": "alice", "alice-2": "alice", "mallory": "mallory"}.get(token)
        if subject is None:
            return None
        return AccessToken(
            token=token, client_id="client", scopes=[], subject=subject, claims={"iss": "https://issuer.example"}
        )


def protected_app() -> App:
    url = AnyHttpUrl("http://127.0.0.1/mcp")
    auth = AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False)
    return sdk_app(token_verifier=Tokens(), auth=auth)
