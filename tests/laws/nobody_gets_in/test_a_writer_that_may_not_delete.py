"""Against ransomware the account that backs up may not delete: everything works without it."""

import contextlib
from collections.abc import Callable

import boto3
import pytest

from pgwindlass.backup import catalog
from pgwindlass.database.connection import Database
from pgwindlass.errors import StoreFailed
from pgwindlass.stores.s3 import S3Store
from tests.fix_backup import restore, take, verify
from tests.fix_faults import Faults
from tests.fix_postgres import Server
from tests.fix_s3 import Bucket

pytestmark = pytest.mark.attack

NO_DELETE = r"^DELETE (?!.*uploadId=)"  # s3:DeleteObject; an upload may still be ended


@pytest.fixture
def line(bucket: Bucket, faults: Callable[[int], Faults]) -> Faults:
    """The line to a server that denies this account every deletion."""
    found = faults(bucket.server.port)
    found.answer(NO_DELETE, 403, "AccessDenied")
    found.answer(r"^POST /[^/?]+\?delete", 403, "AccessDenied")
    return found


def test_the_check_asks_for_no_deletion_and_leaves_nothing(bucket: Bucket, line: Faults) -> None:
    said = bucket.store(endpoint=line.url).check()

    assert "took a part of an upload that was ended" in said
    assert bucket.files() == []
    assert bucket.unfinished() == []
    deletions = [request for request, _ in line.requests if request.startswith("DELETE")]
    assert all("uploadId=" in request for request in deletions)


def test_the_check_leaves_no_version_and_no_marker_behind(
    moto_port: int, moto_bucket: str, faults: Callable[[int], Faults]
) -> None:
    """In a bucket with versions and object lock, whatever is written stays."""
    line = faults(moto_port)
    line.answer(NO_DELETE, 403, "AccessDenied")

    S3Store(bucket=moto_bucket, endpoint=line.url).check()

    with contextlib.closing(
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}")
    ) as client:
        found = client.list_object_versions(Bucket=moto_bucket)
        uploads = client.list_multipart_uploads(Bucket=moto_bucket)
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")
    assert not uploads.get("Uploads")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"^GET /[^/?]+\?list-type", "denies access"),
        (r"^GET /[^?]+windlass-check", "denies access"),
        (r"^POST .*uploads", "denies access"),
        (r"^PUT .*partNumber", "denies access"),
    ],
    ids=["list", "read", "begin", "write"],
)
def test_the_check_finds_each_right_that_is_missing(
    bucket: Bucket, line: Faults, pattern: str, said: str
) -> None:
    line.answer(pattern, 403, "AccessDenied")

    with pytest.raises(StoreFailed, match=said) as caught:
        bucket.store(endpoint=line.url).check()

    assert "allow s3:PutObject, s3:GetObject, s3:AbortMultipartUpload" in caught.value.next_step
    assert bucket.files() == []


def test_a_backup_is_taken_proven_and_restored_by_it(
    bucket: Bucket,
    line: Faults,
    server16: Server,
    new_database: Callable[[Server], Database],
) -> None:
    origin, target = new_database(server16), new_database(server16)
    with origin.connect("test") as connection:
        connection.execute(b"create table t as select generate_series(1, 1000) i")
    store = bucket.store(endpoint=line.url)

    manifest = take(origin, store)
    catalog.note_proof(store, manifest, verify(manifest, store))
    catalog.note_proof(store, manifest, verify(manifest, store))  # a later one takes its place

    assert restore(manifest, store, target).rows == 1000
    assert not any(
        request.startswith("DELETE") and "uploadId" not in request for request, _ in line.requests
    )


def test_a_backup_that_fails_says_what_it_may_not_remove(
    bucket: Bucket, line: Faults, database16: Database
) -> None:
    line.answer(r"^PUT /[^?]+manifest\.json", 403, "AccessDenied")
    store = bucket.store(endpoint=line.url)

    with pytest.raises(StoreFailed) as caught:
        take(database16, store)

    assert "manifest.json" in caught.value.what
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert "dump.pgc remains, and is not used" in notes
    assert catalog.backups(store, environment="uat") == ()
