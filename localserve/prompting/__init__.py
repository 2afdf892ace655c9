"""Between conversations and the text that a model reads and writes."""
