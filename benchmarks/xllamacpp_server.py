"""Runs xllamacpp's HTTP server: llama-server's own code from a wheel, with its own defaults.

Run by file name in whichever Python has xllamacpp, so it imports nothing of this repository. Ends
when it is terminated.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx", type=int, required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, help="-b and -ub")
    options = parser.parse_args()

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = options.port
    parameters.n_ctx = options.ctx
    parameters.n_parallel = options.parallel
    parameters.kv_unified = True
    if options.batch is not None:
        parameters.n_batch = parameters.n_ubatch = options.batch
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    # Blocked before the server's threads exist, so that only sigwait sees the signal.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait(ends)


if __name__ == "__main__":
    main()
