"""Backups in a bucket: S3, or anything that speaks its protocol. Own multipart upload."""

import base64
import hashlib
import math
import os
import secrets
import shlex
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # botocore's own: refused, timed out, closed
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from ..config.sections import S3Config
from ..errors import StepFailed, StoreFailed, Unreachable
from ..secret import redact, remember

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1 << 20
# Measured over 40 MB/s connections with 30 ms round trips: threads matter, part size hardly.
PART = 8 * MIB  # bytes, the smallest part we send; S3's own floor is 5 MiB
THREADS = 8  # parts under way at once
MEMORY = 160 * MIB  # bytes of all parts of this process together; three parts at the least
# S3 takes 10 000 parts. Parts are equal (R2 insists), so the size is chosen before the first one.
PLANNED_PARTS = 9_000
MOST_PARTS = 10_000
ATTEMPTS = 4  # per request; pauses of up to 1, 2 and 4 s between them
READ = 1 * MIB  # bytes per chunk read back
EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"  # of temporary credentials in the environment, ISO 8601
SPARE = 60.0  # seconds beyond the estimate, to complete and to write the manifest
ENV_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
TAKEN = ("PreconditionFailed", "412")
GONE = ("NoSuchUpload", "NoSuchKey", "404")
# Of a server that cannot list unfinished uploads, and of rclone where a bucket never had one.
NOT_THERE = ("NotImplemented", "501", "NoSuchUpload")

# The server's code -> (what it means, what to do). Codes of answers without a body are numbers.
KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile"
RIGHTS = (
    "allow s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload, s3:ListBucket "
    "and s3:ListBucketMultipartUploads on the bucket and prefix for these credentials"
)
REGION = "set AWS_REGION to the bucket's region, or backups.endpoint to its server"
RENEW = "renew them, or give the job a role whose credentials boto3 can renew"
AGAIN = "start again; nothing has to be cleaned up first"
MEANINGS = {
    "InvalidAccessKeyId": ("does not know this access key", KEYS),
    "SignatureDoesNotMatch": ("does not accept this secret key", KEYS),
    "InvalidToken": ("does not accept this session token", KEYS),
    "ExpiredToken": ("says that the credentials have expired", f"renew them, then {AGAIN}"),
    "RequestTimeTooSkewed": ("says that this machine's clock is wrong", "set the clock (NTP)"),
    "AuthorizationHeaderMalformed": ("expects another region", REGION),
    "PermanentRedirect": ("says that the bucket is in another region", REGION),
    "301": ("says that the bucket is in another region", REGION),
    "NoSuchBucket": ("has no such bucket", "create the bucket, or mend backups.to in deploy.yml"),
    "AccessDenied": ("denies access", RIGHTS),
    "403": ("denies access", f"{KEYS}; {RIGHTS}"),
    "NoSuchKey": ("has no such object", "list what there is: invoke backup.list"),
    "404": ("has no such object", "list what there is: invoke backup.list"),
    "SlowDown": ("is overloaded", "wait some minutes, then start again"),
    "503": ("is overloaded or down", "wait some minutes, then start again"),
    "RequestTimeout": ("waited too long for our data", f"check the network, then {AGAIN}"),
    "BadDigest": ("received other bytes than were sent", f"check the network, then {AGAIN}"),
    "PreconditionFailed": ("has an object of that name already", "look at what is there"),
    "412": ("has an object of that name already", "look at what is there"),
    "EntityTooLarge": ("takes no object this large", "use a store that takes larger objects"),
    "QuotaExceeded": ("is full", "make room in the bucket"),
}
LETS_NOBODY_IN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}


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
        self.bucket, self.prefix, self.endpoint = bucket, prefix.strip("/"), endpoint
        self.options = options or S3Config()
        self._conditional = True  # until the server says that it does not know If-None-Match

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
            self._require_free(name)
        size = max(PART, math.ceil(expected_bytes / PLANNED_PARTS))
        parts = _in_parts(chunks, size)
        head = [next(parts, b"")]  # in a list, so that whoever sends it can let go of it
        if len(head[0]) < size:
            self._put(name, head[0], once=once)
        else:
            with self._talking(f"starting the upload of {self._address(name)}"):
                started = self._client.create_multipart_upload(
                    Bucket=self.bucket,
                    Key=name,
                    **self._asked_for(name, once=once),
                    **self._checksum(),
                )
            threads = _threads(size, writers)
            upload = _Upload(self, name, started["UploadId"], size, threads, once=once)
            try:
                upload.send_all(head, parts)
            except BaseException as error:
                upload.abort(error)
                raise
        return self._address(name)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object in chunks of 1 MiB; a missing key is an error of this call."""
        name = self._name(key)
        with self._talking(f"reading {self._address(name)}"):
            found = self._client.get_object(Bucket=self.bucket, Key=name)

        def body() -> Iterator[bytes]:
            left = found["ContentLength"]
            with found["Body"] as stream:
                while left > 0:
                    with self._talking(f"reading {self._address(name)}"):
                        chunk = stream.read(READ)
                    if not chunk:
                        raise _cut(f"reading {self._address(name)}", f"{left} bytes are missing")
                    left -= len(chunk)
                    yield chunk

        return body()

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, in ascending order."""
        start = len(self._full(""))
        found: list[str] = []
        with self._talking(f"listing {self._address(self._full(prefix))}"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._full(prefix)):
                found += [item["Key"][start:] for item in page.get("Contents", [])]
        # Sorted here: S3 lists in order, but not every server that speaks its protocol does.
        yield from sorted(found)

    def delete(self, key: str) -> None:
        """Remove one key; a missing key is an error, though S3 itself says nothing."""
        name = self._name(key)
        with self._talking(f"deleting {self._address(name)}"):
            self._client.head_object(Bucket=self.bucket, Key=name)
            self._client.delete_object(Bucket=self.bucket, Key=name)

    def sweep(self, prefix: str) -> tuple[str, ...]:
        """Abort the unfinished uploads under `prefix`, which are invisible and billed."""
        full = self._full(prefix)
        swept = []
        with self._talking(f"listing the unfinished uploads under {self._address(full)}"):
            for name, upload in self._unfinished(full):
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=name, UploadId=upload)
                swept.append(self._address(name))
        return tuple(swept)

    def _unfinished(self, full: str) -> list[tuple[str, str]]:
        pages = self._client.get_paginator("list_multipart_uploads")
        found: list[tuple[str, str]] = []
        try:
            for page in pages.paginate(Bucket=self.bucket, Prefix=full):
                found += [(one["Key"], one["UploadId"]) for one in page.get("Uploads", [])]
        except ClientError as error:
            if error.response["Error"].get("Code") in NOT_THERE:
                return []
            raise
        # Filtered here too: not every server that speaks the protocol minds the prefix.
        return [(name, upload) for name, upload in found if name.startswith(full)]

    def require_time(self, seconds: float) -> None:
        """Raise `Unreachable` where the credentials in our environment expire before that.

        Those of a role, a profile or a token file are renewed by boto3 on the way, and pass.
        """
        left = _seconds_left()
        if left is not None and left < seconds + SPARE:
            raise Unreachable(
                f"the store's credentials expire in {max(0.0, left):.0f} s, and the backup takes "
                f"about {seconds:.0f} s",
                state="nothing was sent",
                next_step=RENEW,
            )

    def fetch_command(self, key: str) -> str:
        """Return `aws s3 cp` of the object to standard output."""
        endpoint = f" --endpoint-url {shlex.quote(self.endpoint)}" if self.endpoint else ""
        return f"aws s3 cp{endpoint} {shlex.quote(self.address(key))} -"

    def check(self) -> str:
        """Write, read back and delete a small object, and say how long that took."""
        key, probe = f".windlass-check-{secrets.token_hex(8)}", secrets.token_bytes(64)
        began = time.monotonic()
        self.write(key, [probe])
        try:
            if b"".join(self.read(key)) != probe:
                raise StoreFailed(
                    f"{self.address(key)}: read back other bytes than were written",
                    state="the probe was deleted; nothing else was touched",
                    next_step="do not trust this store; look for a proxy that changes content",
                )
        finally:
            self.delete(key)
        took = time.monotonic() - began
        return f"{self._address(self.prefix)}: wrote, read back and deleted a probe in {took:.2f} s"

    def address(self, key: str) -> str:
        """Return s3://BUCKET/PREFIX/KEY, as the AWS tools write it."""
        return self._address(self._full(key))

    @cached_property
    def _client(self) -> "S3Client":
        for name in ENV_SECRETS:
            remember(os.environ.get(name, ""))
        _seconds_left()  # what boto3 says of a wrong one names neither it nor its variable
        # Checksums newer than 2024 are refused by many compatible servers; MD5 is taken by all.
        when: Literal["when_required", "when_supported"]
        when = "when_required" if self.endpoint else "when_supported"
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=THREADS + 2,
            request_checksum_calculation=when,
            response_checksum_validation=when,
        )
        try:
            return boto3.session.Session().client("s3", endpoint_url=self.endpoint, config=config)
        except ValueError as error:  # how botocore refuses a malformed URL
            raise _failed(
                f"backups.endpoint {self.endpoint}: {error}", "write it as https://HOST:PORT"
            ) from error

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _name(self, key: str) -> str:
        # HTTP libraries resolve dot elements before signing, and so would write elsewhere.
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise StoreFailed(
                f'"{key}" is no key: empty, absolute, or with an empty or dot element',
                state="nothing was read or written",
                next_step="use a relative path such as uat/app/20260803T101500Z-1/dump.pgc",
            )
        return self._full(key)

    def _address(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def _require_free(self, name: str) -> None:
        """Raise where the name is taken; asked first, as not every server minds If-None-Match."""
        with self._talking(f"looking for {self._address(name)}"):
            try:
                self._client.head_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                if error.response["Error"].get("Code") in GONE:
                    return
                raise
        raise _taken(self._address(name))

    def _asked_for(self, name: str, *, once: bool) -> dict[str, Any]:
        """Return what deploy.yml asks of the store for each object; locked is what is final."""
        asked: dict[str, Any] = {}
        options = self.options
        if options.storage_class and not name.endswith(".json"):  # manifests are read all the time
            asked["StorageClass"] = options.storage_class
        if options.encryption:
            asked["ServerSideEncryption"] = options.encryption
        if options.kms_key:
            asked["SSEKMSKeyId"] = options.kms_key
        if options.tags:
            asked["Tagging"] = urlencode(options.tags)
        if options.object_lock and once:
            until = datetime.now(UTC) + timedelta(seconds=options.object_lock.retain.seconds)
            asked["ObjectLockMode"] = options.object_lock.mode.upper()
            asked["ObjectLockRetainUntilDate"] = until
        return asked

    def _checksum(self) -> dict[str, Any]:
        """Ask AWS for one CRC-32 over all of a multipart object; other servers differ too much."""
        if self.endpoint:
            return {}
        return {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}

    def conditionally(self, send: Callable[[dict[str, Any]], Any], once: bool) -> Any:  # noqa: ANN401  # boto3's answers
        """Send a request that replaces nothing, where the server knows what that means."""
        if not (once and self._conditional):
            return send({})
        try:
            return send({"IfNoneMatch": "*"})
        except ClientError as error:
            if error.response["Error"].get("Code") not in ("NotImplemented", "501"):
                raise
            self._conditional = False  # asked for by _require_free alone, then
            return send({})

    def _put(self, name: str, body: bytes, *, once: bool) -> None:
        refused = False
        put = partial(
            self._client.put_object,
            Bucket=self.bucket,
            Key=name,
            Body=body,
            ContentMD5=_md5(body),
            **self._asked_for(name, once=once),
        )
        try:
            with self._talking(f"writing {self._address(name)}"):
                try:
                    self.conditionally(lambda condition: put(**condition), once)
                except ClientError:
                    refused = True
                    raise
            self._check_size(name, len(body))
        except BaseException as error:
            # Without an answer nobody knows whether it was stored; after a refusal it was not.
            if not refused:
                self._remove(name, error)
            raise

    def _check_size(self, name: str, size: int) -> None:
        with self._talking(f"checking {self._address(name)}"):
            stored = self._client.head_object(Bucket=self.bucket, Key=name)["ContentLength"]
        if stored != size:
            raise _failed(
                f"{self._address(name)}: sent {size} bytes, the store has {stored}",
                "look for a second writer under this key, then start again",
            )

    def _remove(self, name: str, error: BaseException) -> None:
        """Remove what may be there. Best effort: `error` is the headline, and is told."""
        try:
            with self._talking(f"deleting {self._address(name)}"):
                self._client.delete_object(Bucket=self.bucket, Key=name)
        except StepFailed as second:
            error.add_note(f"{self._address(name)} may remain: {second.what}")

    @contextmanager
    def _talking(self, doing: str) -> Iterator[None]:
        """Translate what boto3 raises while `doing` something."""
        try:
            yield
        except ClientError as error:
            raise _refusal(error, doing) from error
        except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
            raise Unreachable(
                redact(f"{doing}: no usable credentials: {error}"),
                state="nothing was sent",
                next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the job a role",
            ) from error
        except RuntimeError as error:  # botocore's, where what it renews has expired all the same
            raise Unreachable(
                redact(f"{doing}: the credentials have expired: {error}"),
                state="the store did not do it",
                next_step=RENEW,
            ) from error
        except SSLError as error:
            raise self._unreachable(
                doing, error, "check its certificate, or set AWS_CA_BUNDLE"
            ) from error
        # botocore lets urllib3's own through where a body is cut while it is read.
        except (ConnectionError, HTTPClientError, HTTPError, OSError) as error:
            raise self._dropped(doing, error) from error
        except (BotoCoreError, Boto3Error) as error:
            raise _failed(redact(f"{doing}: {error}"), KEYS) from error

    def _unreachable(self, doing: str, error: Exception, next_step: str) -> Unreachable:
        return Unreachable(
            redact(f"{doing}: {self.endpoint or 'AWS'} does not answer: {error}"),
            state="nothing was stored",
            next_step=next_step,
        )

    def _dropped(self, doing: str, error: Exception) -> StepFailed:
        if _never_connected(error):
            return self._unreachable(
                doing, error, "check backups.endpoint in deploy.yml, that the server is up, and DNS"
            )
        return _cut(doing, redact(str(error)))


class _Upload:
    """One multipart upload: equal parts, a bounded number under way, whole or aborted."""

    def __init__(
        self,
        store: S3Store,
        name: str,
        upload_id: str,
        part_size: int,
        threads: int,
        *,
        once: bool,
    ) -> None:
        self.store, self.name, self.id, self.once = store, name, upload_id, once
        self.doing = f"writing s3://{store.bucket}/{name}"
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
                raise _failed(
                    f"{self.doing}: more than {MOST_PARTS} parts of {self.part_size} bytes",
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
            self.store._client.complete_multipart_upload,
            Bucket=self.store.bucket,
            Key=self.name,
            UploadId=self.id,
            MultipartUpload={"Parts": parts},
            **self._whole(),
        )
        with self.store._talking(f"completing {self.doing}"):
            try:
                self.store.conditionally(lambda condition: complete(**condition), self.once)
            except ClientError as error:
                if error.response["Error"].get("Code") in TAKEN:
                    self.completing = False  # what is there is not ours: not to be removed
                raise
        self.store._check_size(self.name, self.size)

    def _whole(self) -> dict[str, Any]:
        """Return what AWS compares the whole object with."""
        if not self.store._checksum():
            return {}
        crc = base64.b64encode(self.crc.to_bytes(4, "big")).decode()
        return {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": crc, "MpuObjectSize": self.size}

    def _send(self, number: int, bodies: list[bytes]) -> "CompletedPartTypeDef":
        body = bodies.pop()  # nobody else holds it: the executor keeps the list for a while
        try:
            with self.store._talking(f"{self.doing}, part {number}"):
                sent = self.store._client.upload_part(
                    Bucket=self.store.bucket,
                    Key=self.name,
                    UploadId=self.id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=_md5(body),
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
            with self.store._talking(f"aborting {self.doing}"):
                self._abort()
        except StepFailed as second:
            error.add_note(
                f"an unfinished upload {self.id} of {self.name} may remain in {self.store.bucket}, "
                f"invisible and billed: {second.what}"
            )

    def _abort(self) -> None:
        client, bucket = self.store._client, self.store.bucket
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=self.name, UploadId=self.id)
        except ClientError as error:
            if error.response["Error"].get("Code") not in GONE:
                raise
            # Nothing to abort: it was completed, though we never saw the answer.
        if self.completing:
            client.delete_object(Bucket=bucket, Key=self.name)


def _in_parts(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Regroup a stream into parts of exactly `size` bytes; the last may be shorter."""
    # One buffer, filled again and again: a growing one would be copied as it grows.
    buffer, filled = memoryview(bytearray(size)), 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            taken = min(len(view), size - filled)
            buffer[filled : filled + taken] = view[:taken]
            view, filled = view[taken:], filled + taken
            if filled == size:
                yield bytes(buffer)
                filled = 0
    if filled:
        yield bytes(buffer[:filled])


def _threads(part_size: int, writers: int = 1) -> int:
    # One part is being filled, and one waits for a free thread.
    return max(1, min(THREADS, MEMORY // writers // part_size - 2))


def _md5(body: bytes) -> str:
    # The one integrity header that AWS and the compatible servers all enforce.
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _seconds_left() -> float | None:
    """Return when the credentials in our environment expire; None: not, or nobody says."""
    until = os.environ.get(EXPIRATION)
    if not until or not os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    try:
        return (datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        raise Unreachable(
            f'{EXPIRATION} is "{until}", which is no time with a zone',
            state="nothing was sent",
            next_step=f"write it as 2026-08-03T10:15:00Z, or unset {EXPIRATION}",
        ) from None


def _taken(address: str) -> StoreFailed:
    return StoreFailed(
        f"{address} is there already, and would have been replaced",
        state="nothing was replaced",
        next_step="look at what is there; start again, under another deployment's id",
    )


def _refusal(error: ClientError, doing: str) -> StepFailed:
    code = str(error.response["Error"].get("Code", "unknown"))
    said = error.response["Error"].get("Message", "")
    meaning, next_step = MEANINGS.get(code, ("refused", f"look up the code {code}, then {AGAIN}"))
    kind = Unreachable if code in LETS_NOBODY_IN else StoreFailed
    return kind(
        redact(f"{doing}: the store {meaning} ({code}: {said})"),
        state="the store did not do it",
        next_step=next_step,
    )


def _never_connected(error: BaseException) -> bool:
    return isinstance(error, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError)


def _cut(doing: str, how: str) -> StoreFailed:
    return StoreFailed(
        f"{doing}: the connection was cut: {how}",
        state="the object is not whole there, and counts for nothing",
        next_step=f"check the network and the store, then {AGAIN}",
    )


def _failed(what: str, next_step: str) -> StoreFailed:
    return StoreFailed(what, state="the object is not stored", next_step=next_step)
