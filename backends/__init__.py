"""Everything on the far side: wire formats, targets, prices, and the one way out."""
