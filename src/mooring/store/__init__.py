"""Where nodes, shards and session records are kept: Redis (or Valkey), or this process's memory for a single node."""
