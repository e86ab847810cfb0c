"""How peers are reached: by HTTP at the address that each of them gives, or through Redis (`peer_link`)."""
