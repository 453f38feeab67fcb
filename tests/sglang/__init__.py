"""The real SGLang on the CPU, serving a tiny mixture-of-experts checkpoint made here."""
