"""The server of SDK v2 that writes down what it carries out, with tools that keep what they are told as well."""

from tests.servers.ledger_v2 import server
from tests.servers.state_tools import add, look

server.add_tool(add)
server.add_tool(look, name="kept")
