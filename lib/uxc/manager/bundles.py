"""Bundles on disk: the user's, read and judged, and the effective ones, written and removed.

An effective bundle is a directory below ``Paths.bundle_dir`` with ``config.json``, ``origin.json``
(of what it was made; ``begun.json`` until its creation has come to the end) and, for an overlay,
``overlay.json`` with its two mount points; the keeper's builder reads the first and the third.
"""

import logging
import os
from dataclasses import asdict

from uxc import files, jsontext
from uxc.config.models import Container
from uxc.errors import InvalidError, system_failure
from uxc.keeper import overlay
from uxc.manager.bundle import Surroundings, effective
from uxc.manager.records import Origin
from uxc.oci import bundle
from uxc.oci.bundle import Bundle
from uxc.paths import Paths

log = logging.getLogger(__name__)

_ORIGIN = "origin.json"
_BEGUN = "begun.json"


class Bundles:
    """Everything about bundles that touches a disk."""

    def __init__(self, paths: Paths) -> None:
        """Begin with no bundle judged."""
        self._directory = paths.bundle_dir
        self._judged: set[bytes] = set()

    def read(self, directory: str) -> Bundle:
        """Return the user's bundle in ``directory``, judged once for each digest of its text.

        Raises WrongBundleError with everything that is wrong in it.
        """
        found = bundle.read(directory, self._judged)
        self._judged.add(found.digest)
        return found

    def write(
        self,
        found: Bundle,
        container: Container,
        around: Surroundings,
        origin: Origin,
    ) -> str:
        """Write the effective bundle of ``container`` and return its path.

        Raises SystemFailure when it cannot be written, InvalidError without the overlay's folder.
        """
        directory = self.path(container.name)
        try:
            files.make_dirs(directory, 0o711)
            if around.root:
                self._prepare_overlay(directory, found.root, container)
            _write(f"{directory}/{_BEGUN}", asdict(origin))
            _write(f"{directory}/{bundle.CONFIG}", effective(found.config, container, around))
        except OSError as error:
            raise system_failure("write the effective bundle", error) from None
        return directory

    @staticmethod
    def _prepare_overlay(directory: str, rootfs: str, container: Container) -> None:
        path = container.write_overlay_path
        if path is not None and not os.path.isdir(path):
            raise InvalidError(
                f"option 'write_overlay_path': {path}: no such directory", "make it first"
            )
        overlay.prepare(
            directory, lower=rootfs, path=path or "", size=container.temp_overlay_size or ""
        )

    def path(self, name: str) -> str:
        """Return where the effective bundle of ``name`` is."""
        return f"{self._directory}/{name}"

    def overlay_root(self, name: str) -> str:
        """Return where a rootfs is seen below its overlay, by its container alone."""
        return overlay.root(self.path(name))

    def names(self) -> list[str]:
        """Return the names that have an effective bundle."""
        try:
            return sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return []

    def origin(self, name: str) -> Origin | None:
        """Return of what ``name`` was made, None when nobody can tell."""
        file = _BEGUN if self.begun(name) else _ORIGIN
        try:
            text = files.read_json(f"{self.path(name)}/{file}")
            return Origin(**{**text, "interfaces": tuple(text["interfaces"])})
        except (OSError, InvalidError, TypeError, KeyError) as error:
            log.warning("%s: its effective bundle is damaged: %s", name, error)
            return None

    def begun(self, name: str) -> bool:
        """Whether the creation of ``name`` has not come to its end, for all that is known."""
        return os.path.exists(f"{self.path(name)}/{_BEGUN}")

    def finish(self, name: str) -> None:
        """Note that the creation of ``name`` has come to its end: there is nothing to undo.

        If that cannot be noted, its section still tells.
        """
        directory = self.path(name)
        try:
            os.rename(f"{directory}/{_BEGUN}", f"{directory}/{_ORIGIN}")
        except OSError as error:
            log.error("%s: cannot note that it is made: %s", name, error.strerror)

    def remove(self, name: str) -> None:
        """Remove the effective bundle of ``name``; one that is not there is fine."""
        directory = self.path(name)
        try:
            for entry in os.listdir(directory):
                path = f"{directory}/{entry}"
                try:
                    os.unlink(path)
                except IsADirectoryError:
                    # A mount point of the overlay; empty for everybody but the container.
                    os.rmdir(path)
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise system_failure("remove", error) from None


def _write(path: str, value: object) -> None:
    """Write the JSON text of ``value``; who dies halfway leaves a creation that is undone."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        files.write_all(fd, jsontext.dumps(value).encode() + b"\n")
    finally:
        os.close(fd)
