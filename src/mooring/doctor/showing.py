"""How foreign text gets into a finding: made fit to be shown, with the operator's secrets hidden."""

from __future__ import annotations

from collections.abc import Callable

Show = Callable[[object], str]
"""Makes foreign text fit to be shown and stored: `Examination.show`, for a verdict that needs nothing else of it."""
ShowCut = Callable[[object, int], str]
"""The same, with the most characters that are shown."""
