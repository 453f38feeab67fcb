"""CPU per request of moegate and its peers, side by side, against one fast stub. Not a test."""
