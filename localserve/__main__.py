"""`python -m localserve`: the same as the `localserve` command."""

from localserve.cli import main

main()
