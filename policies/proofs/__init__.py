"""Claims about every request at once, proved or refuted: see :mod:`policies.proofs.verify`.

Imports Z3. Nothing that serves requests imports this.
"""
