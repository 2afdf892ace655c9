"""What tells how the server does: logs, what must not stand in them, figures, spans.

Knows nothing of HTTP, models or engines; whoever does hands over plain values.
"""
