"""What the node holds, and what it tells the store about it: its lease and its sessions.

Decisions about leases are made in `mooring.core.membership`; here they are carried out.
"""
