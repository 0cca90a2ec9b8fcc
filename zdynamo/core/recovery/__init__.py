"""What a node may have lost, how it finds that out, and how it gets it back."""
