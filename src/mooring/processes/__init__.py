"""Child processes, signals and ports: what runs other programs here, whatever they are. Knows nothing of MCP."""
