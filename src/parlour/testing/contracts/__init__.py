"""The ports' contracts as tests, for any backend.

Subclass a suite and give it its fixture:

    class TestMyLog(EventLogContract):
        @pytest.fixture
        async def log(self):
            log = MyLog()
            yield log
            await log.close()

Every sentence of a port's docstring is a test here. The suites know nothing of a backend's inside,
use no mocks, and ask for more fixtures only where the contract needs another ability (time that
passes, a restart).
"""

from parlour.testing.contracts.agent_files import AgentFilesContract
from parlour.testing.contracts.agents import AgentStoreContract
from parlour.testing.contracts.archive import ArchiveContract
from parlour.testing.contracts.bus import BusContract
from parlour.testing.contracts.channels import ChannelStoreContract
from parlour.testing.contracts.documents import DocumentStoreContract
from parlour.testing.contracts.event_log import EventLogContract
from parlour.testing.contracts.files import FileStoreContract
from parlour.testing.contracts.hot_log import HotLogContract
from parlour.testing.contracts.leases import LeasesContract
from parlour.testing.contracts.notes import NoteStoreContract
from parlour.testing.contracts.pool import ConnectionPoolContract
from parlour.testing.contracts.runtime import RuntimeContract
from parlour.testing.contracts.sessions import SessionStoreContract
from parlour.testing.contracts.thread_sharing import ThreadSharingContract
from parlour.testing.contracts.threads import ThreadStoreContract
from parlour.testing.contracts.usage import UsagePoolContract
from parlour.testing.contracts.users import UserStoreContract

__all__ = [
    "AgentFilesContract",
    "AgentStoreContract",
    "ArchiveContract",
    "BusContract",
    "ChannelStoreContract",
    "ConnectionPoolContract",
    "DocumentStoreContract",
    "EventLogContract",
    "FileStoreContract",
    "HotLogContract",
    "LeasesContract",
    "NoteStoreContract",
    "RuntimeContract",
    "SessionStoreContract",
    "ThreadSharingContract",
    "ThreadStoreContract",
    "UsagePoolContract",
    "UserStoreContract",
]
