"""How peers are reached: today by HTTP at the address that each of them gives."""
