"""Wire formats: pure functions between bytes and the internal prompt and events. No I/O."""
