"""Fixtures for tests that run the real gateway as a process."""
