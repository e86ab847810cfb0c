"""Deployments that are broken on purpose, and some that work: real servers behind real load balancers.

| module    | what stands in front of the servers, or instead of them          |
|-----------|------------------------------------------------------------------|
| `haproxy` | HAProxy: with and without affinity, time limits, lost headers    |
| `nginx`   | nginx: buffered and compressed streams, limits of body and time  |
| `traefik` | Traefik: sticky cookies, a limit on how old a stream may become  |
| `servers` | the replicas of one server, which all of these share             |
| `mixed`   | replicas that differ from each other                             |
| `faults`  | servers which are wrong without any load balancer                |

A proxy starts in a fraction of a second, a replica in more than one. So a test module starts its replicas once and
puts one proxy after the other before them. Every deployment is an asynchronous context manager that gives the URL of
its MCP endpoint.
"""
