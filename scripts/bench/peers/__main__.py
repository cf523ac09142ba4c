"""Runs one engine of `bench_index`, so that its memory and its threads are those of a process of its own.

    ENVIRONMENT/bin/python -I path/to/peers build ENGINE JOB
    ENVIRONMENT/bin/python -I path/to/peers serve ENGINE JOB

The folder is run by its path, because the environments of other libraries do not have diantu. Python puts the folder
itself on the module path, from where `worker` is imported; `worker` needs numpy and the libraries of one engine.
"""

import sys

from worker.loop import main

main(*sys.argv[1:])
