"""What Mooring wraps: the ASGI app that a target names."""
