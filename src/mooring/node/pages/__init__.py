"""What a node tells people, load balancers and programs about itself, beside MCP."""
