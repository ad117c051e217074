"""The model registry, the only package that imports MLflow: `registry` reads versions, `run_log` logs runs."""
