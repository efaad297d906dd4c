"""Runs of `supervisorctl`, forked from an interpreter that has imported it.

Started by the Python that supervisor is installed for.
"""

import importlib
import sys

from tests.warm import serve

if __name__ == "__main__":
    supervisorctl = importlib.import_module("supervisor.supervisorctl")

    def _program() -> int:
        """Run `supervisorctl` as sys.argv says."""
        supervisorctl.main()
        return 0

    serve(sys.argv[1], _program)
