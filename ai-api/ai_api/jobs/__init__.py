"""Training jobs: the store, the queue as serving sees it, the worker and its child process, the promotion lock."""
