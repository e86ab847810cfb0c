"""What is measured and told apart, for the checks to judge: nodes, cookies, silent streams, invented sessions."""
