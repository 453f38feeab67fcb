"""moegate's tests; never shipped."""
