"""The data plane's composition root: the way of a request, and the worker that serves it."""
