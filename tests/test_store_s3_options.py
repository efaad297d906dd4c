"""What the store is asked to do with each object, against moto; and what goes over the line."""

import base64
import contextlib
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import ObjectLockConfig, S3Config
from pgwindlass.errors import StoreFailed
from pgwindlass.stores.s3 import S3Store, upload
from pgwindlass.stores.s3.bucket import Bucket
from tests.fix_faults import Faults

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1 << 20
LARGE = [bytes([n]) * MIB for n in range(20)]  # three parts
SMALL = [b"a manifest"]


@pytest.fixture
def client(moto_port: int, s3_credentials: None) -> "Iterator[S3Client]":
    with contextlib.closing(
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}")
    ) as found:
        yield found


@pytest.fixture
def line(moto_port: int, faults: Callable[[int], Faults]) -> Faults:
    return faults(moto_port)


def store(bucket: str, line: Faults, **options: object) -> S3Store:
    return S3Store(bucket=bucket, endpoint=line.url, options=S3Config(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [LARGE, SMALL], ids=["large", "small"])
def test_tags_class_and_encryption_are_on_every_archive(
    client: "S3Client", moto_bucket: str, line: Faults, content: list[bytes]
) -> None:
    kept = store(
        moto_bucket,
        line,
        storage_class="STANDARD_IA",
        encryption="aws:kms",
        kms_key="alias/b",
        tags={"team": "payments / co", "tier": "uat"},
    )

    kept.write("uat/app/1/dump.pgc", content)

    head = client.head_object(Bucket=moto_bucket, Key="uat/app/1/dump.pgc")
    assert (head["StorageClass"], head["ServerSideEncryption"]) == ("STANDARD_IA", "aws:kms")
    assert head["SSEKMSKeyId"] == "alias/b"
    tags = client.get_object_tagging(Bucket=moto_bucket, Key="uat/app/1/dump.pgc")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "payments / co", "tier": "uat"}
    assert b"".join(kept.read("uat/app/1/dump.pgc")) == b"".join(content)


def test_manifests_stay_in_the_class_that_is_read_at_once(
    client: "S3Client", moto_bucket: str, line: Faults
) -> None:
    kept = store(moto_bucket, line, storage_class="GLACIER")

    kept.write("uat/app/1/manifest.json", SMALL)

    assert "StorageClass" not in client.head_object(
        Bucket=moto_bucket, Key="uat/app/1/manifest.json"
    )


@pytest.mark.parametrize("content", [LARGE, SMALL], ids=["large", "small"])
def test_object_lock_keeps_it_as_long_as_asked(
    client: "S3Client", moto_bucket: str, line: Faults, content: list[bytes]
) -> None:
    kept = store(
        moto_bucket, line, object_lock=ObjectLockConfig(mode="compliance", retain=Duration(86400.0))
    )

    kept.write("uat/app/1/dump.pgc", content, once=True)

    sent = next(h for request, h in line.requests if re.match(r"P\w+ .*dump\.pgc", request))
    assert sent["x-amz-object-lock-mode"] == "COMPLIANCE"
    until = datetime.fromisoformat(sent["x-amz-object-lock-retain-until-date"])
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(days=1)
    if content is SMALL:  # moto forgets what a multipart upload began with
        head = client.head_object(Bucket=moto_bucket, Key="uat/app/1/dump.pgc")
        assert head["ObjectLockMode"] == "COMPLIANCE"


def test_what_is_written_anew_or_only_for_a_moment_is_not_locked(
    moto_bucket: str, line: Faults
) -> None:
    kept = store(moto_bucket, line, object_lock=ObjectLockConfig())

    kept.check()
    kept.write("uat/app/1/pin.json", SMALL)

    assert not any("Object-Lock" in name for _, headers in line.requests for name in headers)


@pytest.mark.parametrize("content", [LARGE, SMALL], ids=["large", "small"])
def test_once_replaces_nothing(moto_bucket: str, line: Faults, content: list[bytes]) -> None:
    kept = store(moto_bucket, line)
    kept.write("uat/app/1/dump.pgc", content, once=True)

    with pytest.raises(StoreFailed, match="is there already, and would have been replaced"):
        kept.write("uat/app/1/dump.pgc", [b"other"], once=True)

    assert b"".join(kept.read("uat/app/1/dump.pgc")) == b"".join(content)


@pytest.mark.parametrize("content", [LARGE, SMALL], ids=["large", "small"])
def test_somebody_quicker_between_the_question_and_the_write_is_not_replaced(
    moto_bucket: str, line: Faults, content: list[bytes]
) -> None:
    kept = store(moto_bucket, line)
    kept.write("uat/app/1/dump.pgc", [b"the other's"])
    line.answer(r"HEAD .*dump\.pgc", 404, "NoSuchKey", last=1)  # as if it were not there yet

    with pytest.raises(StoreFailed, match="has an object of that name already"):
        kept.write("uat/app/1/dump.pgc", content, once=True)

    assert b"".join(kept.read("uat/app/1/dump.pgc")) == b"the other's"


def test_a_server_that_does_not_know_the_condition_is_asked_without_it(
    moto_bucket: str, line: Faults
) -> None:
    kept = store(moto_bucket, line)
    line.answer(r"PUT .*dump", 501, "NotImplemented", last=1)

    kept.write("uat/app/1/dump.pgc", SMALL, once=True)
    kept.write("uat/app/2/dump.pgc", SMALL, once=True)

    conditions = ["If-None-Match" in h for request, h in line.requests if request[:3] == "PUT"]
    assert conditions == [True, False, False]


def test_aws_compares_the_whole_object_with_our_checksum_and_size(
    moto_bucket: str, line: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without an endpoint of ours it is AWS; boto3's own variable leads the line to moto.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", line.url)
    kept = S3Store(bucket=moto_bucket)

    kept.write("uat/app/1/dump.pgc", LARGE)

    sent = next(h for request, h in line.requests if re.match("POST .*uploadId", request))
    crc = base64.b64encode(zlib.crc32(b"".join(LARGE)).to_bytes(4, "big")).decode()
    lower = {name.lower(): value for name, value in sent.items()}
    assert lower["x-amz-checksum-crc32"] == crc
    assert lower["x-amz-checksum-type"] == "FULL_OBJECT"
    assert lower["x-amz-mp-object-size"] == str(20 * MIB)


def test_other_servers_are_sent_no_checksum_that_they_may_refuse(
    moto_bucket: str, line: Faults
) -> None:
    store(moto_bucket, line).write("uat/app/1/dump.pgc", LARGE)

    names = {name.lower() for _, headers in line.requests for name in headers}
    assert "content-md5" in names
    assert not any(name.startswith(("x-amz-checksum", "x-amz-sdk-checksum")) for name in names)


@pytest.mark.parametrize(
    ("expected", "writers", "threads"),
    [
        (0, 1, 8),
        (0, 4, 3),
        (100 * 10**9, 1, 8),  # parts of 11 MB
        (400 * 10**9, 1, 1),  # parts of 44 MB: one under way, one waiting, one being filled
        (10**12, 4, 1),
    ],
)
def test_all_writers_together_stay_within_the_memory(
    expected: int, writers: int, threads: int
) -> None:
    part = max(upload.PART, -(-expected // upload.PLANNED_PARTS))

    assert upload.threads_for(part, writers) == threads
    if part * 3 * writers <= upload.MEMORY:
        assert (threads + 2) * part * writers <= upload.MEMORY


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-north-1"),
        ({"AWS_REGION": ""}, "us-east-1"),
    ],
)
def test_the_region_is_that_of_either_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], region: str
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)

    client = Bucket("backups", "http://127.0.0.1:9", S3Config()).client

    assert client.meta.region_name == region
