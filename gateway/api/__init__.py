"""The edge: HTTP in, HTTP out. Hot endpoints are bare ASGI callables, the rest is Starlette."""
