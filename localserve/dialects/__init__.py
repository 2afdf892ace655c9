"""Wire formats, strangers to each other; `schema.py` reads JSON for all of them."""
