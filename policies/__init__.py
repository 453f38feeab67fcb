"""Pure decisions: no I/O, no clock, no randomness. Read :mod:`policies.facts` first."""
