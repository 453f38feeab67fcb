"""The server: owns I/O, time, identity and money. Read :mod:`gateway.pipeline` first."""
