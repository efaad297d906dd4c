"""Whose rollout is it? The pod template that we asked for is compared with the one there now."""

from typing import Any

RESTARTED = "kubectl.kubernetes.io/restartedAt"  # in the template, by `kubectl rollout restart`


def stamp(template: dict[str, Any]) -> str:
    """Return when a template was last restarted, as kubectl wrote it; empty: never."""
    annotations = template.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(RESTARTED, ""))


def by_somebody_else(ours: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what in the template is not ours; empty: the rollout is ours.

    Args:
        ours: the template as the cluster answered our change.
        now: the template of the Deployment today.

    """
    if _plain(now) == _plain(ours):
        return ""
    differences = [
        f"image {new or 'none'} of container {name} instead of {old or 'none'}"
        for name, old, new in _images(ours, now)
        if old != new
    ]
    if stamp(now) != stamp(ours):
        differences.append(f"restartedAt {stamp(now) or 'none'} instead of {stamp(ours) or 'none'}")
    return ", ".join(differences) or "another pod template"


def _plain(value: object) -> object:
    """Leave nulls and empty objects out: kubectl prints some that the cluster does not have."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    items = {key: _plain(item) for key, item in value.items()}
    return {key: item for key, item in items.items() if item is not None and item != {}}


def _images(ours: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str, str]]:
    before, after = containers(ours), containers(now)
    return [(name, before.get(name, ""), after.get(name, "")) for name in {**before, **after}]


def containers(template: dict[str, Any]) -> dict[str, str]:
    """Return the image of each container of a template, by the container's name."""
    listed = template.get("spec", {}).get("containers") or []
    return {container["name"]: container.get("image", "") for container in listed}
