"""Streams with a memory: what an app says is numbered, kept for a while, and sent to whoever listens.

    app ──> answer.py ──> stream.py (the log) ──> listener.py ──> the client, or the one that comes back

A client that leaves ends nothing: the app is not told, and what it says waits in the log. Of the legacy era alone; in
the modern one a client that leaves cancels its request.
"""
