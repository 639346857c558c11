"""Side-by-side measurements against other clients: ``python -m benchmarks``. See README.md."""
