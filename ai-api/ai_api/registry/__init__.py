"""The model registry: the only package that knows MLflow."""
