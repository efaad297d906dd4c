"""What boto3 raises, as errors of ours: what the server means, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
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

from ...errors import StepFailed, StoreFailed, Unreachable
from ...secret import redact

TAKEN = ("PreconditionFailed", "412")
SERVER_FAILED = 500  # and above: HTTP's statuses of a server that broke down
GONE = ("NoSuchUpload", "NoSuchKey", "404")
# Of a server that cannot list unfinished uploads, and of rclone where a bucket never had one.
NOT_THERE = ("NotImplemented", "501", "NoSuchUpload")
RENEW = "renew them, or give the job a role whose credentials boto3 can renew"

# The server's code -> (what it means, what to do). Codes of answers without a body are numbers.
KEYS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile"
RIGHTS = (
    "allow s3:PutObject, s3:GetObject, s3:AbortMultipartUpload, s3:ListBucket and "
    "s3:ListBucketMultipartUploads on the bucket and prefix for these credentials, and "
    "s3:DeleteObject where backups.keep prunes; docs/backups.md has the policies"
)
REGION = "set AWS_REGION to the bucket's region, or backups.endpoint to its server"
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


def code_of(error: ClientError) -> str:
    """Return the server's code; of an answer without a body, the status as text."""
    return str(error.response["Error"].get("Code", "unknown"))


def is_lost(error: BaseException) -> bool:
    """Tell whether what became of a request is not known: no answer says that it was refused.

    What a server that broke down answers says nothing, nor does the refusal of a second try: that
    may be for what the first one stored.
    """
    cause = error if isinstance(error, ClientError) else error.__cause__
    if not isinstance(cause, ClientError):
        return True
    about = cause.response.get("ResponseMetadata", {})
    return about.get("RetryAttempts", 0) > 0 or about.get("HTTPStatusCode", 0) >= SERVER_FAILED


def is_taken(error: BaseException) -> bool:
    """Tell whether the server refused because an object of that name is there."""
    return isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in TAKEN


@contextmanager
def talking(action: str, endpoint: str | None) -> Iterator[None]:
    """Translate what boto3 raises while doing `action` at the endpoint; None: AWS.

    Raises:
        Unreachable: nothing answers, or the server refuses these credentials.
        StoreFailed: the server refused, or the connection was cut.

    """
    try:
        yield
    except ClientError as error:
        raise _refusal(error, action) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise Unreachable(
            redact(f"{action}: no usable credentials: {error}"),
            state="nothing was sent",
            next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the job a role",
        ) from error
    except RuntimeError as error:  # botocore's, where what it renews has expired all the same
        raise Unreachable(
            redact(f"{action}: the credentials have expired: {error}"),
            state="the store did not do it",
            next_step=RENEW,
        ) from error
    except SSLError as error:
        raise _unreachable(
            action, endpoint, error, "check its certificate, or set AWS_CA_BUNDLE"
        ) from error
    # botocore lets urllib3's own through where a body is cut while it is read.
    except (ConnectionError, HTTPClientError, HTTPError, OSError) as error:
        raise _connection_lost(action, endpoint, error) from error
    except (BotoCoreError, Boto3Error) as error:
        raise not_stored(redact(f"{action}: {error}"), KEYS) from error


def _unreachable(
    action: str, endpoint: str | None, error: Exception, next_step: str
) -> Unreachable:
    return Unreachable(
        redact(f"{action}: {endpoint or 'AWS'} does not answer: {error}"),
        state="nothing was stored",
        next_step=next_step,
    )


def _connection_lost(action: str, endpoint: str | None, error: Exception) -> StepFailed:
    if _never_connected(error):
        advice = "check backups.endpoint in deploy.yml, that the server is up, and DNS"
        return _unreachable(action, endpoint, error, advice)
    return cut(action, redact(str(error)))


def taken(address: str) -> StoreFailed:
    """Return the error of a name that something is stored under already."""
    return StoreFailed(
        f"{address} is there already, and would have been replaced",
        state="nothing was replaced",
        next_step="look at what is there; start again, under another deployment's id",
    )


def _refusal(error: ClientError, action: str) -> StepFailed:
    code = code_of(error)
    message = error.response["Error"].get("Message", "")
    meaning, next_step = MEANINGS.get(code, ("refused", f"look up the code {code}, then {AGAIN}"))
    kind = Unreachable if code in LETS_NOBODY_IN else StoreFailed
    return kind(
        redact(f"{action}: the store {meaning} ({code}: {message})"),
        state="the store did not do it",
        next_step=next_step,
    )


def _never_connected(error: BaseException) -> bool:
    return isinstance(error, EndpointConnectionError | ConnectTimeoutError | ProxyConnectionError)


def cut(action: str, how: str) -> StoreFailed:
    """Return the error of a connection that ended in the middle."""
    return StoreFailed(
        f"{action}: the connection was cut: {how}",
        state="the object is not whole there, and is not used",
        next_step=f"check the network and the store, then {AGAIN}",
    )


def too_slow(action: str, size: int, seconds: float) -> StoreFailed:
    """Return the error of a store that did not take or give so many bytes in time."""
    amount = f"{size} bytes" if size else "an answer"
    return StoreFailed(
        f"{action}: the store is too slow: {amount} in {seconds:.0f} s did not get through",
        state="the object is not whole there, and is not used",
        next_step=f"check the network and the store, then {AGAIN}",
    )


def not_stored(what: str, next_step: str) -> StoreFailed:
    """Return the error of an object that the store does not have."""
    return StoreFailed(what, state="the object is not stored", next_step=next_step)
