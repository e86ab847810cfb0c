"""Keeps the operator's secrets out of what is shown, also where a server sends them back and the text was cut."""

from __future__ import annotations

from mooring.core.masking import masked_secrets as hidden

__all__ = ["hidden"]
