"""The image map of a cluster: what ships, and the user's files."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from segue.cluster.node.images import BUILT_IN, ImageEntry, ImageMap
from segue.model.errors import ManifestError, Place

_APP = Path(__file__).resolve().parent.parent.parent / "app"


def load_image_map(files: Iterable[str] = ()) -> ImageMap:
    """What ships and then the files, later ones winning; ManifestError where one cannot be read or is off."""
    entries: list[ImageEntry] = list(BUILT_IN)
    for file in files:
        # reading YAML costs 20 ms that a cluster without maps of the user's own need not pay
        from segue.cluster.node.imagefile import read_image_map  # noqa: PLC0415

        try:
            text = Path(file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ManifestError(f"the image map cannot be read: {reason}", place=Place(file=file)) from error
        entries += read_image_map(text, file=file, here=str(Path(file).resolve().parent))
    return ImageMap(entries=tuple(entries), words={"python": sys.executable, "app": str(_APP)})
