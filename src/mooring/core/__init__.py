"""What Mooring decides, without I/O: no asyncio, no Redis, no HTTP, no clock. `now` is always an argument."""
