"""Backups in a bucket: S3, or anything that speaks its protocol."""

import contextlib
import math
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from botocore.exceptions import ClientError

from ...config.sections import S3Config
from ...connections import Exchange
from ...errors import StepFailed, StoreFailed, Unreachable
from . import upload
from .bucket import Bucket, seconds_left
from .errors import NOT_THERE, RENEW, code_of, cut, is_lost, is_taken
from .upload import PLANNED_PARTS, Upload, in_parts, threads_for

T = TypeVar("T")

READ = 1 << 20  # bytes per chunk read back
PROBE = ".windlass-check-"  # begins the names that `check` asks for
PROBE_AGE = timedelta(days=1)
SPARE = 60.0  # seconds beyond the estimate, to complete and to write the manifest


class S3Store:
    """Keeps objects under `prefix` in one bucket. Credentials are boto3's own business.

    Args:
        bucket: its name.
        prefix: put before every key, without slashes at its ends; may be empty.
        endpoint: URL of an S3-compatible server; None: AWS.
        options: storage class, encryption, tags and the like; None: as the bucket says.

    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        options: S3Config | None = None,
    ) -> None:
        self.bucket = Bucket(bucket, endpoint, options or S3Config())
        self.prefix = prefix.strip("/")

    def write(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        expected_bytes: int = 0,
        writers: int = 1,
        once: bool = False,
    ) -> str:
        """Store the stream, whole or not at all; see `Store.write`.

        Memory: 160 MiB of parts, shared by the writers, where no part is larger than a third of
        that: up to 470 GB of `expected_bytes`, as there are at most 10 000 parts.
        """
        name = self._name(key)
        if once:
            self.bucket.require_free(name)
        size = max(upload.PART, math.ceil(expected_bytes / PLANNED_PARTS))
        parts = in_parts(chunks, size)
        head = [next(parts, b"")]  # in a list, so that the sender can release it
        if len(head[0]) < size:
            self._put(name, head[0], once=once)
        else:
            with self.bucket.talking(f"starting the upload of {self.bucket.address(name)}"):
                started = self.bucket.client.create_multipart_upload(
                    Bucket=self.bucket.name,
                    Key=name,
                    **self.bucket.asked_for(name, once=once),
                    **self.bucket.checksum(),
                )
            threads = threads_for(size, writers)
            sending = Upload(self.bucket, name, started["UploadId"], size, threads, once=once)
            try:
                sending.send_all(head, parts)
            except BaseException as error:
                sending.abort(error)
                raise
        return self.bucket.address(name)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object in chunks of 1 MiB; a missing key is an error of this call."""
        name = self._name(key)
        action, exchange = f"reading {self.bucket.address(name)}", Exchange()
        with self.bucket.talking(action, exchange=exchange):
            answer = self.bucket.client.get_object(Bucket=self.bucket.name, Key=name)

        def body() -> Iterator[bytes]:
            left = answer["ContentLength"]
            with answer["Body"] as stream:
                while left > 0:
                    size = min(READ, left)
                    with self.bucket.talking(action, size=size, exchange=exchange):
                        chunk = stream.read(READ)
                        if not chunk:
                            raise cut(action, f"{left} bytes are missing")
                    left -= len(chunk)
                    yield chunk

        return body()

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, in ascending order."""
        start = len(self._full(""))
        names: list[str] = []
        pages = self.bucket.client.get_paginator("list_objects_v2")
        listing = iter(pages.paginate(Bucket=self.bucket.name, Prefix=self._full(prefix)))
        action = f"listing {self.bucket.address(self._full(prefix))}"
        while (page := self._next(action, listing)) is not None:
            names += [item["Key"][start:] for item in page.get("Contents", [])]
        # Sorted here: S3 lists in order, but not every server that speaks its protocol does.
        yield from sorted(names)

    def _next(self, action: str, pages: Iterator[T]) -> T | None:
        """Ask for the next page of a listing; None behind the last one."""
        with self.bucket.talking(action):
            return next(pages, None)

    def delete(self, key: str) -> None:
        """Remove one key; a missing key is an error, though S3 itself says nothing."""
        name = self._name(key)
        with self.bucket.talking(f"deleting {self.bucket.address(name)}"):
            self.bucket.client.head_object(Bucket=self.bucket.name, Key=name)
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=name)

    def sweep(self, prefix: str) -> tuple[str, ...]:
        """Abort the unfinished uploads under `prefix`, which are invisible and billed."""
        full_prefix = self._full(prefix)
        removed = []
        for name, upload_id, _began in self._unfinished(full_prefix):
            self._abort(name, upload_id)
            removed.append(self.bucket.address(name))
        return tuple(removed)

    def _abort(self, name: str, upload_id: str) -> None:
        with self.bucket.talking(f"ending an upload of {self.bucket.address(name)}"):
            self.bucket.client.abort_multipart_upload(
                Bucket=self.bucket.name, Key=name, UploadId=upload_id
            )

    def _unfinished(self, full_prefix: str) -> list[tuple[str, str, datetime]]:
        pages = self.bucket.client.get_paginator("list_multipart_uploads")
        listing = iter(pages.paginate(Bucket=self.bucket.name, Prefix=full_prefix))
        action = f"listing the unfinished uploads under {self.bucket.address(full_prefix)}"
        uploads: list[tuple[str, str, datetime]] = []
        try:
            while (page := self._next(action, listing)) is not None:
                uploads += [
                    (item["Key"], item["UploadId"], item["Initiated"])
                    for item in page.get("Uploads", [])
                ]
        except StepFailed as error:
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in NOT_THERE:
                return []
            raise
        # Filtered here too: not every server that speaks the protocol minds the prefix.
        return [item for item in uploads if item[0].startswith(full_prefix)]

    def require_time(self, seconds: float) -> None:
        """Raise `Unreachable` where the credentials in our environment expire before that.

        Those of a role, a profile or a token file are renewed by boto3 on the way, and pass.
        """
        left = seconds_left()
        if left is not None and left < seconds + SPARE:
            raise Unreachable(
                f"the store's credentials expire in {max(0.0, left):.0f} s, and the backup takes "
                f"about {seconds:.0f} s",
                state="nothing was sent",
                next_step=RENEW,
            )

    def fetch_command(self, key: str) -> str:
        """Return `aws s3 cp` of the object to standard output."""
        endpoint = (
            f" --endpoint-url {shlex.quote(self.bucket.endpoint)}" if self.bucket.endpoint else ""
        )
        return f"aws s3 cp{endpoint} {shlex.quote(self.address(key))} -"

    def check(self, prefix: str = "") -> str:
        """List, ask for an object that is not there, send a part of an upload and end the upload.

        An account that may write and not delete can do that, and nothing is left. What a killed
        check left a day ago is ended, where the account may list unfinished uploads.
        """
        start = time.monotonic()
        with contextlib.suppress(StepFailed):
            self._end_old_probes(self._full(f"{prefix}{PROBE}"))
        name = self._full(f"{prefix}{PROBE}{secrets.token_hex(8)}")
        self.bucket.require_reading(self._full(prefix), name)
        upload.probe(self.bucket, name)
        place, seconds = self.bucket.address(self.prefix), time.monotonic() - start
        return (
            f"{place}: lists, reads, and took a part of an upload that was ended, {seconds:.2f} s"
        )

    def _end_old_probes(self, begins: str) -> None:
        """End the uploads of killed checks: no living one is that old, whatever the clocks say."""
        for name, upload_id, began in self._unfinished(begins):
            if datetime.now(UTC) - began > PROBE_AGE:
                self._abort(name, upload_id)

    def address(self, key: str) -> str:
        """Return s3://BUCKET/PREFIX/KEY, as the AWS tools write it."""
        return self.bucket.address(self._full(key))

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _name(self, key: str) -> str:
        # HTTP libraries resolve dot elements before signing, and so would write elsewhere.
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise StoreFailed(
                f'"{key}" is not a key: empty, absolute, or with an empty or dot element',
                state="nothing was read or written",
                next_step="use a relative path such as uat/app/20260803T101500Z-1/dump.pgc",
            )
        return self._full(key)

    def _put(self, name: str, body: bytes, *, once: bool) -> None:
        put = partial(
            self.bucket.client.put_object,
            Bucket=self.bucket.name,
            Key=name,
            Body=body,
            ContentMD5=upload.md5(body),
            **self.bucket.asked_for(name, once=once),
        )
        try:
            with self.bucket.talking(f"writing {self.bucket.address(name)}", size=len(body)):
                self.bucket.conditionally(lambda condition: put(**condition), once)
            self.bucket.check_size(name, len(body))
        except BaseException as error:
            # Without an answer it is unknown whether it was stored; after a refusal it was not.
            if not is_lost(error):
                raise
            if isinstance(error, StepFailed) and self.bucket.holds(name, len(body), body):
                return
            if not is_taken(error):  # else what is there may be another writer's
                self.bucket.remove(name, error)
            raise
