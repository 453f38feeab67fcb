"""The container stack: its files as data, and started for real by an engine of the test's own."""
