"""What one workspace may use."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Bounds of a workspace. The kernel's are per process, except `processes`, which counts all that run
    in one workspace (threads too)."""

    output_bytes: int = 200_000
    """Of one command or cell: the first three quarters and the end are kept."""

    processes: int = 256
    memory_bytes: int = 4_000 * MB
    """Address space; what reserves much and uses little (V8, the JVM) needs more than one thinks."""

    file_bytes: int = 1_000 * MB
    """Largest file that a command may write."""

    cpu_seconds: int = 3600
    open_files: int = 1024
    temporary_bytes: int = 512 * MB
    """Of `/tmp`, where the sandbox gives each workspace its own."""

    read_bytes: int = 10 * MB
    """Largest file that is read or written through the runtime."""

    listed_files: int = 5_000

    def of_process(self) -> dict[str, int]:
        """As names of the `resource` module."""
        return {
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }
