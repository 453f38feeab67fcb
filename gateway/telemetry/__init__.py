"""What the gateway tells about itself: log lines, metrics. Never a word of a prompt or a key."""
