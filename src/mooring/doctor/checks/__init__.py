"""The verdicts: a module for each question that the doctor asks, and some for what several of them judge alike.

A module with a `CHECK` is a check, and is in the catalogue. The others judge for one check or for several: refusals,
lost calls, cut streams, the flaws of a cookie, and what is said where a check cannot tell. `judge` is a function of
what was measured, so that every verdict can be tested without a network.
"""
