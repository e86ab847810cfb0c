"""One node: the middleware around an app, and all that it needs to be a member of a cluster.

In here: `requests` (what becomes of each request), `membership` (lease and sessions), `links` (how peers are reached),
`pages` (health and status). It knows the store and the core; it does not know what kind of app it wraps, which load
balancer is in front, or how its process was started.
"""
