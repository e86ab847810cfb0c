"""One node: the middleware around the app, the sessions that live here, the lease, and the way to its peers."""
