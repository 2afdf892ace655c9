"""A program that dies as llama.cpp does."""

import os
import sys

print("no such layer", file=sys.stderr, flush=True)
os.abort()
