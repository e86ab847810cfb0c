"""Shards that move from a node that lives to another one, with nothing lost: when it ends, and when it is too full.

What only waits for events is told to come back; what runs may end first; what is asked meanwhile is held. Shards of
dead nodes are no matter of this package: those are adopted (`mooring.node.membership.adoption`).
"""
