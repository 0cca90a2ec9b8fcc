"""What clients ask of this node, from admission to the answer."""
