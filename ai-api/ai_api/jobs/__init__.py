"""Training jobs: the queue, the worker, and the child process of a job."""
