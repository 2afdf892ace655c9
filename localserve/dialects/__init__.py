"""Wire formats, strangers to each other; `schema` is how all of them read JSON."""
