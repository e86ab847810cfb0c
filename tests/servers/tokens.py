"""The bearer tokens of the two users that the servers under test know."""

from typing import Final

ALICE_TOKEN: Final = "alice-token-54c1e7"
BOB_TOKEN: Final = "bob-token-9f02ab"
USERS: Final = {ALICE_TOKEN: "alice", BOB_TOKEN: "bob"}
