"""The server of `people.py` that PEOPLE_SDK and PEOPLE_AUTH name, behind Mooring, for a process of its own."""

import os
from typing import Final, cast

from mooring import Mooring, Settings
from tests.servers.people import Auth, Sdk, make_app

app: Final = Mooring(
    make_app(cast(Sdk, os.environ["PEOPLE_SDK"]), cast(Auth, os.environ["PEOPLE_AUTH"])), Settings.load()
)
