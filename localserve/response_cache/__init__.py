"""Answers that were given once and can be given again: exact, for as long as they are determined.

Knows nothing of HTTP and of wire formats: what is kept are the events of an answer.
"""
