"""Which model of a route answers a request, and why: pure, a snapshot and a request in.

Knows nothing of HTTP, of loading and of asking.
"""
