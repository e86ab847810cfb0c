"""The server with a book, as an app that servers with several processes run: Mooring inside, all settings default."""

from typing import Final

from mooring import Mooring
from tests.servers.entries import server

app: Final = Mooring(server.streamable_http_app())
