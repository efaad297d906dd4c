"""Prove a backup as deep as asked, and note it beside the backup; then let old ones go."""

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
    """Prove a backup and write the proof beside its manifest.

    Raises:
        StepFailed: it is not what it should be; nothing is written.

    """
    if level == "restore":
        proof = drill.drill(manifest, store, config, progress=progress)
    else:
        proof = verify.verify_backup(manifest, store, config, level=level, progress=progress)
    catalog.note_proof(store, manifest, proof)
    return proof
