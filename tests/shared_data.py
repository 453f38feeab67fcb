"""The recorded and labelled data that may lie beside the checkout, and what their absence means.

A clone alone passes without them; a run that names them through ``MOEGATE_SHARED`` may skip nothing.
"""

from pathlib import Path

DATA_SKIP = "needs the recorded data beside the checkout (MOEGATE_SHARED)"


class DataMissing(Exception):
    """There are no data here and nobody said that there are: the test is skipped."""


class DataDemanded(Exception):
    """The data were named and are not there: the test fails."""


def find_shared(demanded: str | None, beside: Path) -> Path:
    """The folder of data: the one ``demanded``, else the one ``beside`` the checkout.

    Raises :class:`DataDemanded` or :class:`DataMissing`.
    """
    folder = Path(demanded) if demanded else beside
    if folder.is_dir():
        return folder
    if demanded:
        message = f"MOEGATE_SHARED names `{demanded}`, which is not a folder"
        raise DataDemanded(message)
    raise DataMissing(DATA_SKIP)


def is_data_skip(reason: str) -> bool:
    """Whether a test was skipped for want of the data; also one that looked for them by itself."""
    return DATA_SKIP in reason or "MOEGATE_SHARED" in reason
