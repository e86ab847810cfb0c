"""What the load balancer in front is told: which node is where, and which shards it holds. Stands alone."""
