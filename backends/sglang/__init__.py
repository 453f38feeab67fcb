"""The self-hosted cluster: who is there, how to speak to it, and a simulator of a worker."""
