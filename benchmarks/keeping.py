"""A thousand backups in S3: listed, and all but ten pruned.

Run, from the repository: .venv/bin/python -m benchmarks.keeping [BACKUPS, 1000]
The store is rclone's server. The floor reads the same manifests one after the other.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from pgwindlass.backup import catalog, prune
from pgwindlass.backup.stream import whole
from pgwindlass.stores.s3 import S3Store
from tests.rclone import serving
from tests.unit.examples import manifest

STAYING = 10


def main() -> None:
    """Print seconds and ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as endpoint:
        store = S3Store(bucket="bench", endpoint=endpoint)
        keys = fill(store, count)
        floor = timed(lambda: [whole(store, key) for key in keys])
        listed = timed(lambda: catalog.backups(store, environment="production"))
        print(f"list {count}: {listed:.2f} s, one by one {floor:.2f} s: {listed / floor:.2f} ×")
        backups = catalog.backups(store, environment="production")
        gone = backups[STAYING:]
        pruned = timed(lambda: prune.remove_backups(store, gone, done=lambda _: None))
        print(f"prune {len(gone)}: {pruned:.2f} s, {pruned / len(gone) * 1000:.0f} ms each")


def fill(store: S3Store, count: int) -> list[str]:
    """Write so many backups of one small archive each, and return the keys of their manifests."""
    keys = []
    for number in range(count):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
        key = f"production/shop/{moment:%Y%m%dT%H%M%SZ}-d{number}/"
        part = msgspec.structs.replace(manifest().parts[0], key=f"{key}dump.pgc")
        backup = manifest(key=key, taken_at=moment, parts=(part,), environment="production")
        store.write(part.key, [b"x"])
        store.write(f"{key}manifest.json", [backup.canonical()])
        keys.append(f"{key}manifest.json")
    return keys


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
