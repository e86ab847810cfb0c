"""`mooring up`: a whole cluster on one machine, Redis, nodes and Traefik as children of one process."""
