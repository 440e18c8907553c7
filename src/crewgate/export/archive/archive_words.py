"""What log and health say of an archive: which folder or bucket it is, and what to do."""

from typing import Final

from crewgate.config import ExportConfig
from crewgate.export.receiver_status import ReceiverWords

LOOK_AT_DISKS: Final = "look at the disks of the audit and of `state`: `crewgate status` lists them"
LOOK_AT_ENGINE: Final = (
    "look at the free memory of this machine, and at this audit file; the process tries again"
)
POSITION_LOST: Final = "objects in the archive are compared with the audit"


def place_of(receiver: ExportConfig) -> str:
    """Return the folder or the bucket, in words."""
    return f"the {'folder' if receiver.bucket is None else 'bucket'} {receiver.place}"


def archive_words(receiver: ExportConfig) -> ReceiverWords:
    """Return the words for the archive of a table [export.NAME]."""
    table = f"[export.{receiver.name}]"
    disks = "of the audit and of `state`"
    if receiver.bucket is None:
        disks = f"of the audit, of `state` and of {receiver.folder}"
        mend = (
            f"see that the file system of {receiver.folder} is mounted and has room, and that the "
            f"user of the gateway may write there; or correct `folder` of {table}"
        )
    else:
        mend = (
            f"see that the service at {receiver.endpoint.host} answers, and that the keys in "
            f"`credentials` may list, get and put objects of the bucket; or correct {table}"
        )
    return ReceiverWords(
        takes_none="gets no objects",
        has_taken_none="has got no objects",
        takes_again="gets objects again",
        mend=mend,
        unsaved="make room on the disk of `state`; until then, a restart compares the newest "
        "objects with the audit",
        disks=disks,
    )
