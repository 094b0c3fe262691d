"""Starts Python's runtime on Hearth: see ``hearth_bootstrap``, which is a module of its own so that it can be compiled ahead."""

import sys

# This directory is everybody's. Whether the function's is written to is for its environment to say.
sys.dont_write_bytecode, written = True, sys.dont_write_bytecode
import hearth_bootstrap  # noqa: E402

sys.dont_write_bytecode = written
del written
hearth_bootstrap.main()
