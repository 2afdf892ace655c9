"""Who may ask, and how: keys and the checks that stand before every route.

Knows nothing of models, dialects or endpoints. The middlewares are pure ASGI; they raise errors of
the tree, and whoever mounts them answers those.
"""
