"""Text that may be shown: whatever a password could be in has it hidden."""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=://)([^\s/@:'\"]*):[^\s'\"]*@")
_QUERY_SECRETS: Final = re.compile(r"([?&](?:password|secret|token)=)[^&\s'\"]*", re.IGNORECASE)


def masked(text: str) -> str:
    """The text with the passwords of its URLs hidden."""
    return _QUERY_SECRETS.sub(r"\1***", _CREDENTIALS.sub(r"\1:***@", text))
