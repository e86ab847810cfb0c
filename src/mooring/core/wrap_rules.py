"""Which tools give out ids of the server's own, and where: what the setting `handles` says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_FIELD = re.compile(r"([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*|", re.ASCII)


@dataclass(frozen=True, slots=True)
class WrapRule:
    """
    Attributes:
        mint: the tool whose result brings ids.
        field: where in its result, as a path of names joined by dots, `*` for each of a list; "" for the whole text.
        use: the arguments that take them, of whichever tool.
    """

    mint: str
    field: str
    use: tuple[str, ...]


def read_rules(text: str) -> tuple[WrapRule, ...]:
    """The rules in JSON: a list of objects with `mint`, `field` and `use`.

    Raises:
        ValueError: it is something else.
    """
    rules = []
    for entry in json.loads(text) if text else []:
        if not isinstance(entry, dict) or not entry.keys() <= {"mint", "field", "use"}:
            raise ValueError("an entry has mint, field and use")
        mint, field, use = entry.get("mint"), entry.get("field", ""), entry.get("use", [])
        names = [use] if isinstance(use, str) else use
        is_right = isinstance(mint, str) and mint and isinstance(field, str) and _FIELD.fullmatch(field)
        if not is_right or not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ValueError("mint is a tool's name, field a path of names joined by dots, use a list of arguments")
        rules.append(WrapRule(str(mint), field, tuple(names)))
    return tuple(rules)
