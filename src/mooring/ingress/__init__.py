"""What the load balancer in front is told: which node is where, and which shards it holds.

It knows the core and nothing else of Mooring: no store, no node, no process. Whoever follows a cluster hands its views
in (`topology_of`) and gets configuration out.
"""
