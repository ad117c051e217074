"""Benchmark of data-api: `python -m tests.bench.data_api`."""
