"""Sixty files: the promise of the rehearsal beside what bystanders waited, in one run each.

Run, from the repository: .venv/bin/python -m benchmarks.promises [ROWS of orders, 200,000]
Each table that a file locks has a reader and a writer of 50 statements a second, and transactions
of 0.1 s of somebody else. What is waited may be one rung of `lock.timeout`, 0.5 s, and the promise.
"""

import sys
import tempfile
from pathlib import Path

from pgwindlass.postgres.embedded import running
from tests.promises import FILES, RUNG, Promise, measure, prepare


def main() -> None:
    """Print each file's promise, its bystanders' wait, and the ratio of the two; then the worst."""
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 200_000
    promises: list[Promise] = []
    with tempfile.TemporaryDirectory(prefix="wl-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        with running(home / "pg") as secret:
            server = secret.reveal()
            template = prepare(server, rows=rows)
            print("promised   waited  ratio  retries  file")
            for text in FILES:
                promise = measure(server, template, text, home / "project")
                promises.append(promise)
                print(_line(promise), flush=True)
    exact = [p for p in promises if p.promised == 0 and p.waited > RUNG]
    print(f"{len(promises)} files; waited above a rung where nothing was promised: {len(exact)}")
    print(f"highest ratio to a rung and the promise: {max(p.ratio for p in promises):.2f}")


def _line(promise: Promise) -> str:
    return (
        f"{promise.promised * 1000:5.0f} ms  {promise.waited * 1000:5.0f} ms  "
        f"{promise.ratio:5.2f}  {promise.retries:7}  {promise.sql[:90]}"
    )


if __name__ == "__main__":
    main()
