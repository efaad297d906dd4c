"""Verify a backup at the level asked for, and record the result beside it."""

from ..config.sections import BackupsConfig
from ..model import Manifest, Proof, ProofLevel
from ..stores import Store
from . import catalog, drill, stream, verify


def verify_and_record(
    manifest: Manifest,
    store: Store,
    config: BackupsConfig,
    *,
    level: ProofLevel,
    progress: stream.Progress,
) -> Proof:
    """Verify a backup and write the result beside its manifest.

    Raises:
        StepFailed: it is not what it should be; nothing is written.

    """
    if level == "restore":
        proof = drill.drill(manifest, store, config, progress=progress)
    else:
        proof = verify.verify_backup(manifest, store, config, level=level, progress=progress)
    catalog.note_proof(store, manifest, proof)
    return proof
