"""How one token is chosen from a row of logits, exactly and without sorting the vocabulary.

columns.py      the maxima of a row's columns, and so its largest logits
scan.py         what is read of a row once for all that ask
sums.py         running sums of many weights, and where they pass a value
weights.py      the whole vocabulary as probabilities, and a draw among it
uniform.py      the random numbers that llama.cpp's sampler would draw
adjustments.py  biases and penalties, applied to the few tokens that they touch
chain.py        llama.cpp's own samplers, given the candidates that matter
nucleus.py      top-p over the whole vocabulary
sample.py       a sample of a row: about where it would be, if it were sorted
choices.py      the ways to choose, one for each kind of settings
scores.py       log probabilities

Knows nothing of contexts, batches or text. A row is used by one thread at a time.
"""
