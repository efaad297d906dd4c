"""One object sent in parts: equal ones, a bounded number under way, whole or aborted."""

import base64
import hashlib
import secrets
import threading
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ...errors import StepFailed
from .bucket import THREADS, Bucket
from .errors import GONE, code_of, is_lost, is_taken, not_stored
from .lines import COMPLETED_WITHIN

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1 << 20
# Measured over 40 MB/s connections with 30 ms round trips: threads matter, part size hardly.
PART = 8 * MIB  # bytes, the smallest part we send; S3's own floor is 5 MiB
MEMORY = 160 * MIB  # bytes of all parts of this process together; three parts at the least
# S3 takes 10 000 parts. Parts are equal (R2 insists), so the size is chosen before the first one.
PLANNED_PARTS = 9_000
MOST_PARTS = 10_000


class Upload:
    """One multipart upload: equal parts, a bounded number under way, whole or aborted."""

    def __init__(
        self,
        bucket: Bucket,
        name: str,
        upload_id: str,
        part_size: int,
        threads: int,
        *,
        once: bool,
    ) -> None:
        self.bucket, self.name, self.id, self.once = bucket, name, upload_id, once
        self.action = f"writing {bucket.address(name)}"
        self.part_size, self.crc = part_size, 0
        self.slots = threading.Semaphore(threads)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="s3-part")
        self.failed = threading.Event()
        self.size = 0
        self.completing = False

    def send_all(self, head: list[bytes], rest: Iterator[bytes]) -> None:
        """Send every part, complete the upload and compare its size."""
        futures: list[Future[CompletedPartTypeDef]] = []
        part: bytes | None = head.pop()
        while part is not None and not self.failed.is_set():
            if len(futures) == MOST_PARTS:
                raise not_stored(
                    f"{self.action}: more than {MOST_PARTS} parts of {self.part_size} bytes",
                    "report this as a bug: the dump is far larger than its database",
                )
            self.slots.acquire()
            futures.append(self.pool.submit(self._send, len(futures) + 1, [part]))
            self.size, self.crc = self.size + len(part), zlib.crc32(part, self.crc)
            part = None  # not kept here while the next one is gathered
            part = next(rest, None)
        parts = [future.result() for future in futures]
        self.pool.shutdown()
        self.completing = True
        complete = partial(
            self.bucket.client.complete_multipart_upload,
            Bucket=self.bucket.name,
            Key=self.name,
            UploadId=self.id,
            MultipartUpload={"Parts": parts},
            **self._whole(),
        )
        try:
            with self.bucket.talking(f"completing {self.action}", within=COMPLETED_WITHIN):
                self.bucket.conditionally(lambda condition: complete(**condition), self.once)
            self.bucket.check_size(self.name, self.size)
        except StepFailed as error:
            if is_lost(error) and self.bucket.holds(self.name, self.size):
                return
            if is_taken(error):
                self.completing = False  # what is there is not ours: not to be removed
            raise

    def _whole(self) -> dict[str, Any]:
        """Return what AWS compares the whole object with."""
        if not self.bucket.checksum():
            return {}
        crc = base64.b64encode(self.crc.to_bytes(4, "big")).decode()
        return {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": crc, "MpuObjectSize": self.size}

    def _send(self, number: int, bodies: list[bytes]) -> "CompletedPartTypeDef":
        body = bodies.pop()  # no one else holds it: the executor keeps the list for a while
        try:
            with self.bucket.talking(f"{self.action}, part {number}", size=len(body)):
                sent = self.bucket.client.upload_part(
                    Bucket=self.bucket.name,
                    Key=self.name,
                    UploadId=self.id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=md5(body),
                )
            done: CompletedPartTypeDef = {"PartNumber": number, "ETag": sent["ETag"]}
            if "ChecksumCRC32" in sent:
                done["ChecksumCRC32"] = sent["ChecksumCRC32"]
        except BaseException:
            self.failed.set()
            raise
        else:
            return done
        finally:
            del body  # before the slot is free for the next part
            self.slots.release()

    def abort(self, error: BaseException) -> None:
        """Leave nothing. Best effort where the store is gone: `error` stays the headline."""
        # A part that arrives after the abort would stay, invisible and billed: wait for them.
        self.pool.shutdown(cancel_futures=True)
        try:
            with self.bucket.talking(f"aborting {self.action}"):
                self._abort()
        except StepFailed as second:
            error.add_note(
                f"an unfinished upload {self.id} of {self.name} may remain in {self.bucket.name}, "
                f"invisible and billed: {second.what}"
            )

    def _abort(self) -> None:
        client, bucket = self.bucket.client, self.bucket.name
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=self.name, UploadId=self.id)
        except ClientError as error:
            if code_of(error) not in GONE:
                raise
            # Nothing to abort: it was completed, though we never saw the answer.
        if self.completing:
            client.delete_object(Bucket=bucket, Key=self.name)


def probe(bucket: Bucket, name: str) -> None:
    """Send a part of an upload, which the server compares with its MD5, and end the upload."""
    body = secrets.token_bytes(64)
    with bucket.talking(f"starting an upload of {bucket.address(name)}"):
        started = bucket.client.create_multipart_upload(
            Bucket=bucket.name, Key=name, **bucket.asked_for(name, once=False)
        )
    try:
        with bucket.talking(f"sending a part of {bucket.address(name)}"):
            bucket.client.upload_part(
                Bucket=bucket.name,
                Key=name,
                UploadId=started["UploadId"],
                PartNumber=1,
                Body=body,
                ContentMD5=md5(body),
            )
    finally:
        with bucket.talking(f"ending an upload of {bucket.address(name)}"):
            bucket.client.abort_multipart_upload(
                Bucket=bucket.name, Key=name, UploadId=started["UploadId"]
            )


def in_parts(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Regroup a stream into parts of exactly `size` bytes; the last may be shorter."""
    # One buffer, filled again and again: a growing one would be copied as it grows.
    buffer, filled = memoryview(bytearray(size)), 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            length = min(len(view), size - filled)
            buffer[filled : filled + length] = view[:length]
            view, filled = view[length:], filled + length
            if filled == size:
                yield bytes(buffer)
                filled = 0
    if filled:
        yield bytes(buffer[:filled])


def threads_for(part_size: int, writers: int = 1) -> int:
    """Return how many parts are under way at once, so that MEMORY holds for all writers."""
    # One part is being filled, and one waits for a free thread.
    return max(1, min(THREADS, MEMORY // writers // part_size - 2))


def md5(body: bytes) -> str:
    """Return the value of Content-MD5."""
    # The one integrity header that AWS and the compatible servers all enforce.
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
