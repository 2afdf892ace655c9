"""Measuring localserve against its peers: same file, same threads, same context, real HTTP.

make_model.py      a GGUF of a real shape with random weights (shapes.py, vocabulary.py)
servers.py         starts and stops what is measured (xllamacpp_server.py runs in the peer's Python)
client.py          the streaming client: arrival times of tokens, parsed after the stream has ended
raw_loop.py        the limit: llama_decode and argmax, nothing else
scenarios.py       what is measured, each a closed description and a function
ratios.py          medians and their ratios
report.py          the table, the JSON and the entry in LOG.md
measure.py         lets the runs alternate (machine.py says where)
sampling.py        the choice of one token against llama.cpp's chain, without a server
speed_prediction.py  predicted and measured speed (prediction_report.py tells of it)
guessing.py        answers with and without guessing ahead, without a server
draft.py           the same with a smaller model that guesses
frontier.py        how long streams wait for long prompts, by the budget of a step
responsiveness.py  the lag of the event loop and of /health/live under full load
growth.py          steps by sequences and context, and which part is llama.cpp's
gateway_cost.py    what keys, limits, logs, metrics and spans cost (gateway_server.py is measured)
tables.py          what the last four print
memory_accuracy.py what headers predict beside what llama.cpp takes
locustfile.py      users of Locust, which is run as a program of its own
soak.py            random switches among models
run.py             the command line (__main__.py says what to install)

Nothing in here is imported by the package.
"""

from typing import Final

INSTALL: Final = "Run scripts/bench, or: pip install --group pyproject.toml:bench"
"""What to do where a package is missing."""
