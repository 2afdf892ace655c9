"""Load on a running server, and whether it held what was promised.

slo.py      objectives: parsed, and held against figures
figures.py  percentiles and rates of a step, and where the server saturates
answer.py   what arrived of one request, taken apart
client.py   one streamed request after another over HTTP
step.py     so many users at once, each waiting for its answer before it asks again

Knows servers by their URL alone.
"""
