"""Signatures of what lies in a store: made and judged by ssh-keygen, as approvals are.

Format and options: ssh-keygen(1), -Y sign and verify; ALLOWED SIGNERS in the same page. The
principal of a line is an environment's name: one file serves all, and a key of UAT signs nothing
of production's. The namespace is the document's kind.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from . import account, process, purposes, temporary
from .config.sections import SigningConfig
from .errors import ChildFailed, ConfigError, StepFailed, Unchanged, Untrusted
from .model import Binding, DocumentKind, Sealed

NAMESPACE = "windlass-"  # before the kind
CHECKED: DocumentKind = "proof"  # the kind that `check` tries
NOT_USED = Unchanged("what does not verify is not used")
GENERATE = "ssh-keygen -t ed25519 -N '' -C {environment} -f backup-key"


class Seal:
    """Signs the documents of one environment, and judges them.

    Args:
        config: the section `signing`.
        project: as deploy.yml names it.
        environment: its name, the principal in the signers' file.
        root: the directory of deploy.yml.

    """

    def __init__(
        self, config: SigningConfig, *, project: str, environment: str, root: Path
    ) -> None:
        self.config, self.project, self.environment, self.root = config, project, environment, root
        self._verified: set[bytes] = set()
        self._lock = threading.Lock()

    @property
    def can_sign(self) -> bool:
        """Whether there is a key here."""
        return bool(self.config.text or self.config.key_file)

    def require_key(self) -> None:
        """Raise ConfigError where nothing can be signed here."""
        if not self.can_sign:
            raise ConfigError(
                f"environments.{self.environment}.signing: there is no key here to sign with",
                next_step="write key: ${BACKUP_SIGNING_KEY:-} there, and export the private key in "
                "that variable; or do this where the key is",
            )

    def seal(self, kind: DocumentKind, key: str, document: bytes) -> bytes:
        """Return what is to be stored under `key`: the document, its binding and the signature.

        Raises:
            ConfigError: there is no key here.
            StepFailed: ssh-keygen did not sign.

        """
        self.require_key()
        binding = Binding(
            kind=kind,
            project=self.project,
            environment=self.environment,
            key=key,
            at=datetime.now(UTC),
        )
        unsigned = Sealed(
            binding=binding.canonical().decode(), document=document.decode(), signature=""
        )
        return msgspec.structs.replace(
            unsigned, signature=self._sign(kind, unsigned.signed)
        ).canonical()

    def _sign(self, kind: DocumentKind, text: bytes) -> str:
        with self._key() as key:
            argv = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE + kind, "-f", key]
            try:
                return b"".join(process.pipe(argv, [text], purpose=purposes.SIGN)).decode()
            except ChildFailed as error:
                account.require_known("ssh-keygen", state="nothing was stored")
                raise StepFailed(
                    f"ssh-keygen did not sign a {kind}: {error.stderr or error.what}",
                    state="nothing was stored",
                    next_step=f"see that environments.{self.environment}.signing has a whole "
                    "private key without a passphrase, or a key that the ssh agent holds",
                ) from error

    @contextmanager
    def _key(self) -> Iterator[str]:
        """Yield the path of the key; one that came as text is a file while the block lasts."""
        if self.config.key_file:
            yield str(self.root / Path(self.config.key_file).expanduser())
            return
        with temporary.directory("key") as directory:
            file = directory / "key"
            file.touch(mode=0o600)
            file.write_text(self.config.text + "\n", encoding="utf-8")
            yield str(file)

    def open(self, kind: DocumentKind, key: str, content: bytes, address: str) -> bytes:
        """Return the document that was sealed for this key, and for no other.

        Raises:
            Untrusted: it is not signed, or not by who may sign it, or it is another document's.
            ConfigError: the signers' file is not there, or takes anybody.

        """
        try:
            sealed = msgspec.json.decode(content, type=Sealed)
            binding = msgspec.json.decode(sealed.binding, type=Binding)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._untrusted(address, "it is not signed") from None
        expected = Binding(
            kind=kind,
            project=self.project,
            environment=self.environment,
            key=key,
            at=binding.at,
        )
        if binding != expected or "\n" in sealed.binding:
            raise self._untrusted(
                address,
                f"its signature is of the {binding.kind} {binding.key!r} of {binding.project}, "
                f"{binding.environment}",
            )
        self._verify(kind, sealed, address)
        return sealed.document.encode()

    def _verify(self, kind: DocumentKind, sealed: Sealed, address: str) -> None:
        seen = hashlib.sha256(sealed.canonical()).digest() + kind.encode()
        with self._lock:
            if seen in self._verified:
                return
        signers = self._signers()
        with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8") as file:
            file.write(sealed.signature)
            file.flush()
            argv = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE + kind, "-s", file.name]
            argv += ["-f", str(signers), "-I", self.environment]
            try:
                for _ in process.pipe(argv, [sealed.signed], purpose=purposes.TOOL):
                    pass
            except ChildFailed as error:
                account.require_known("ssh-keygen", state="no signature was judged")
                raise self._untrusted(
                    address,
                    f"its signature is not by a key of {self.environment} in {self.config.signers}"
                    ", or it was changed since",
                ) from error
        with self._lock:
            self._verified.add(seen)

    def _signers(self) -> Path:
        """Return the signers' file, of which a line names this environment and none everybody."""
        path = self.root / self.config.signers
        where = f"environments.{self.environment}.signing.signers"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{where}: {path} cannot be read: {error}",
                next_step=f"write a line into it: {self.environment} ssh-ed25519 AAAA… "
                f"({GENERATE.format(environment=self.environment)})",
            ) from error
        names: set[str] = set()
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if any(sign in words[0] for sign in "*?!") or "cert-authority" in line:
                raise ConfigError(
                    f"{where}: {path}:{number}: {words[0]} is a pattern or an authority",
                    next_step="write one line for each environment's key: "
                    f"{self.environment} ssh-ed25519 AAAA…",
                )
            names.update(words[0].strip('"').split(","))
        if self.environment not in names:
            raise ConfigError(
                f"{where}: {path} has no key of {self.environment}",
                next_step=f"write the line: {self.environment} ssh-ed25519 AAAA… "
                f"({GENERATE.format(environment=self.environment)})",
            )
        return path

    def check(self) -> str:
        """Sign something and have it judged, for `doctor`; return what was found."""
        if shutil.which("ssh-keygen") is None:
            raise ConfigError(
                "there is no ssh-keygen here to sign and verify backups with",
                next_step="install openssh-client",
            )
        signers = self._signers()
        if not self.can_sign:
            return f"no key here; what {signers.name} lists verifies"
        content = self.seal(CHECKED, "check", b"{}")
        self.open(CHECKED, "check", content, "a signature made just now")
        return f"signed by a key that {signers.name} lists"

    def _untrusted(self, address: str, why: str) -> Untrusted:
        return Untrusted(
            f"{address} is not trusted: {why}",
            state=NOT_USED,
            next_step=f"find out who wrote it; take another: "
            f"invoke backup --env {self.environment}",
        )
