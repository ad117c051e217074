"""One training from request to version: fit, tune, cross-validate, choose a threshold, log, pass the gate."""
