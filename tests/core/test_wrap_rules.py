from __future__ import annotations

import pytest

from mooring.core.wrap_rules import WrapRule, read_rules


def test_rules_are_read() -> None:
    text = '[{"mint": "create", "field": "a.*.b", "use": ["x", "y"]}, {"mint": "other", "use": "z"}]'
    assert read_rules(text) == (WrapRule("create", "a.*.b", ("x", "y")), WrapRule("other", "", ("z",)))
    assert read_rules("") == ()


@pytest.mark.parametrize(
    "text",
    ["{", "7", "[7]", '[{"mint": ""}]', '[{"field": "x"}]', '[{"mint": "a", "field": "..", "use": []}]',
     '[{"mint": "a", "use": [1]}]', '[{"mint": "a", "other": 1}]'],
)  # fmt: skip
def test_what_is_no_rule_is_told(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_rules(text)
