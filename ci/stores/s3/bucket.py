"""A bucket and its server: the client, what each request asks for, and what is checked after it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ...config.sections import S3Config
from ...connections import Exchange
from ...errors import StepFailed, Unreachable
from ...secret import remember
from . import lines
from .errors import GONE, code_of, not_stored, taken, talking, too_slow

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

THREADS = 8  # parts under way at once
ATTEMPTS = 4  # per request; pauses of up to 1, 2 and 4 s between them
EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"  # of temporary credentials in the environment, ISO 8601
ENV_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Bucket:
    """One bucket of one server.

    Args:
        name: the bucket's.
        endpoint: URL of an S3-compatible server; None: AWS.
        options: storage class, encryption, tags and the like.

    """

    def __init__(self, name: str, endpoint: str | None, options: S3Config) -> None:
        self.name, self.endpoint, self.options = name, endpoint, options
        self._conditional = True  # until the server says that it does not know If-None-Match

    @cached_property
    def client(self) -> "S3Client":
        """boto3's client, created when it is first needed."""
        for name in ENV_SECRETS:
            remember(os.environ.get(name, ""))
        seconds_left()  # what boto3 says of a wrong one names neither it nor its variable
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
            client = _session().client("s3", endpoint_url=self.endpoint, config=config)
        except ValueError as error:  # how botocore refuses a malformed URL
            raise not_stored(
                f"backups.endpoint {self.endpoint}: {error}", "write it as https://HOST:PORT"
            ) from error
        lines.limit(client)
        return client

    def address(self, name: str) -> str:
        """Return s3://BUCKET/NAME, as the AWS tools write it."""
        return f"s3://{self.name}/{name}"

    @contextmanager
    def talking(
        self, action: str, *, size: int = 0, within: float = 0.0, exchange: Exchange | None = None
    ) -> Iterator[None]:
        """Translate what boto3 raises while doing `action`; see `errors.talking`.

        Args:
            action: what is done, for people.
            size: bytes that it sends or reads: each takes its time, and no more.
            within: seconds for all of it, where not `size` decides.
            exchange: that what is read belongs to; None: it begins here.

        """
        seconds, exchange = within or lines.seconds_for(size), exchange or Exchange()
        try:
            with lines.within(seconds, exchange), talking(action, self.endpoint):
                yield
        except (StepFailed, lines.Ended) as error:
            if exchange.over:
                raise too_slow(action, size, seconds) from error
            raise

    def require_free(self, name: str) -> None:
        """Raise where the name is taken; asked first, as not every server minds If-None-Match."""
        with self.talking(f"looking for {self.address(name)}"):
            try:
                self.client.head_object(Bucket=self.name, Key=name)
            except ClientError as error:
                if code_of(error) in GONE:
                    return
                raise
        raise taken(self.address(name))

    def require_reading(self, prefix: str, absent: str) -> None:
        """Raise unless we may list under the prefix, and read: what is not there is not denied."""
        with self.talking(f"listing {self.address(prefix)}"):
            self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1)
        with self.talking(f"reading under {self.address(prefix)}"):
            try:
                self.client.get_object(Bucket=self.name, Key=absent)
            except ClientError as error:
                if code_of(error) not in GONE:
                    raise

    def asked_for(self, name: str, *, once: bool) -> dict[str, Any]:
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

    def checksum(self) -> dict[str, Any]:
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
            if code_of(error) not in ("NotImplemented", "501"):
                raise
            self._conditional = False  # asked for by require_free alone, then
            return send({})

    def check_size(self, name: str, size: int) -> None:
        """Raise where the store has another number of bytes under this name."""
        with self.talking(f"checking {self.address(name)}"):
            stored = self.client.head_object(Bucket=self.name, Key=name)["ContentLength"]
        if stored != size:
            raise not_stored(
                f"{self.address(name)}: sent {size} bytes, the store has {stored}",
                "look for a second writer under this key, then start again",
            )

    def holds(self, name: str, size: int, body: bytes | None = None) -> bool | None:
        """Ask what became of an object whose answer was lost; None where nobody answers that.

        `body`: all of it, which is compared; None: of a large one, whose parts had their MD5, the
        size is.
        """
        try:
            with self.talking(f"asking for {self.address(name)}", size=len(body or b"")):
                try:
                    if body is None:
                        head = self.client.head_object(Bucket=self.name, Key=name)
                        return head["ContentLength"] == size
                    stored = self.client.get_object(Bucket=self.name, Key=name)["Body"]
                    with stored as stream:
                        return stream.read(size + 1) == body
                except ClientError as error:
                    if code_of(error) in GONE:
                        return False
                    raise
        except StepFailed:
            return None

    def remove(self, name: str, error: BaseException) -> None:
        """Remove what may be there. Best effort: `error` is the headline, and is told."""
        try:
            with self.talking(f"deleting {self.address(name)}"):
                self.client.delete_object(Bucket=self.name, Key=name)
        except StepFailed as second:
            error.add_note(f"{self.address(name)} may remain: {second.what}")


def seconds_left() -> float | None:
    """Return when the credentials in our environment expire; None: never, or unknown."""
    until = os.environ.get(EXPIRATION)
    if not until or not os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    try:
        return (datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        raise Unreachable(
            f'{EXPIRATION} is "{until}", which is not a time with a zone',
            state="nothing was sent",
            next_step=f"write it as 2026-08-03T10:15:00Z, or unset {EXPIRATION}",
        ) from None


def _session() -> boto3.session.Session:
    """Return boto3's session, which reads AWS_DEFAULT_REGION alone; the others read AWS_REGION.

    Where both are set, AWS_REGION counts, as for the AWS command.
    """
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
