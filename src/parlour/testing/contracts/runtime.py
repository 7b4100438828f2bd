"""What every `Runtime` promises, and what hostile commands must not achieve."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from parlour.agents.errors import RuntimeUnavailable, WorkspaceEscape
from parlour.agents.ports import CommandResult, Runtime, RuntimeFactory
from parlour.errors import Conflict, InvalidPayload, NotFound, TooLarge
from parlour.testing.contracts.making import until

LONG_S = 60.0
"""For what ends by itself, however busy the machine is."""

SHORT_S = 0.5
"""For what never ends by itself."""

ESCAPES = (
    *("../secret", "a/../../secret", "..", "/etc/passwd", "//etc/passwd", "~/secret"),
    *("link/secret", "loop/x", "file-link", "a/./../../secret"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the implementation was given, so that the suite knows when it is past it. `processes` is None
    where nothing limits their number: then no fork bomb is tried."""

    output_bytes: int
    read_bytes: int
    file_bytes: int
    processes: int | None = 128


class RuntimeContract:
    """Give it the fixtures `make` (a runtime for a session id, not open), `bounds`, and `count_processes` (how
    many processes of a session's workspace are alive, as its machine sees it)."""

    flood_bytes = 1_000_000_000
    """What one command prints in the test of bounds."""

    @pytest.fixture
    async def make(self) -> RuntimeFactory:
        raise NotImplementedError

    @pytest.fixture
    def bounds(self) -> Bounds:
        raise NotImplementedError

    @pytest.fixture
    def count_processes(self) -> Callable[[Runtime], int]:
        raise NotImplementedError

    @pytest.fixture
    async def runtime(self, make: RuntimeFactory) -> AsyncIterator[Runtime]:
        async with opened(make) as runtime:
            yield runtime

    # -- commands --------------------------------------------------------------------------------

    async def test_a_command_tells_its_output_and_its_exit_code(self, runtime: Runtime) -> None:
        result = await sh(runtime, "echo out; echo err >&2; exit_with() { return 3; }; exit_with")

        assert result == CommandResult(3, "out\nerr\n")

    async def test_output_is_heard_while_the_command_runs(self, runtime: Runtime) -> None:
        heard: list[str] = []
        first = asyncio.Event()

        def hear(text: str) -> None:
            heard.append(text)
            first.set()

        command = "echo first; until [ -e go ]; do sleep 0.02; done; echo second"
        running = asyncio.create_task(runtime.run(command, timeout_s=LONG_S, on_output=hear))
        await asyncio.wait_for(first.wait(), LONG_S)
        before = "".join(heard)
        await runtime.write_file("go", "")
        result = await running

        assert before == "first\n"
        assert "".join(heard) == result.output == "first\nsecond\n"

    async def test_folder_and_variables_stay_between_commands(self, runtime: Runtime) -> None:
        await sh(runtime, "mkdir -p sub; cd sub; export GIVEN=1; own=2; f() { echo f; }")

        result = await sh(runtime, 'basename "$PWD"; printenv GIVEN; echo $own; f')

        assert result.output == "sub\n1\n2\nf\n"

    async def test_a_script_of_many_lines_is_one_command(self, runtime: Runtime) -> None:
        script = "cat > x.txt <<'END'\n" + "line\n" * 5_000 + "END\nwc -l < x.txt | tr -d ' '"

        result = await sh(runtime, script)

        assert result == CommandResult(0, "5000\n")

    async def test_a_syntax_error_is_a_result(self, runtime: Runtime) -> None:
        result = await sh(runtime, "if then (")

        assert result.exit_code not in (0, None)
        assert "syntax error" in result.output
        assert (await sh(runtime, "echo well")).output == "well\n"

    async def test_a_command_that_reads_its_input_gets_none(self, runtime: Runtime) -> None:
        assert await sh(runtime, "cat; read x; echo read $?") == CommandResult(0, "read 1\n")

    async def test_a_shell_that_exits_is_replaced(self, runtime: Runtime) -> None:
        await sh(runtime, "mkdir -p sub; cd sub")

        ended = await sh(runtime, "exit 7")
        after = await sh(runtime, 'basename "$PWD"')

        assert ended.exit_code == 7
        assert after.exit_code == 0
        assert after.output.endswith("sub\n")

    async def test_a_shell_that_closed_every_descriptor_comes_back(self, runtime: Runtime) -> None:
        await sh(runtime, 'for fd in $(seq 3 254); do eval "exec $fd>&-"; done; echo closed')

        results = [await sh(runtime, "echo well") for _ in range(2)]

        assert results[-1].output.endswith("well\n")

    async def test_letters_that_are_no_characters_harm_nothing(self, runtime: Runtime) -> None:
        command = await sh(runtime, "echo a\ud800b\0c")
        cell = await runtime.run_cell("print('a\ud800b')", LONG_S)
        after = await runtime.run_cell("1", LONG_S)

        assert command.exit_code == 0
        assert cell.exit_code is not None
        assert after.output.endswith("1\n")

    async def test_commands_run_one_at_a_time(self, runtime: Runtime) -> None:
        command = "[ -e busy ] && echo together; touch busy; sleep 0.05; rm busy"

        results = await asyncio.gather(*(sh(runtime, command) for _ in range(4)))

        assert [result.output for result in results] == [""] * 4

    async def test_the_server_s_environment_is_not_there(
        self, make: RuntimeFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SERVER_SECRET", "hunter2")

        async with opened(make) as runtime:
            result = await sh(runtime, "env; cat /proc/self/environ /proc/$PPID/environ 2>&1")

        assert result.output
        assert "hunter2" not in result.output

    # -- output ----------------------------------------------------------------------------------

    async def test_bytes_that_are_no_text_become_text(self, runtime: Runtime) -> None:
        result = await sh(runtime, r"printf 'a\377\376b\000c\xc3'; printf '\xa9d'")

        assert result.output == "a\ufffd\ufffdb\ufffdcéd"

    async def test_a_line_of_a_hundred_thousand_letters_arrives(
        self, runtime: Runtime, bounds: Bounds
    ) -> None:
        length = bounds.output_bytes // 2

        result = await sh(runtime, f"head -c {length} /dev/zero | tr '\\0' x")

        assert result.output == "x" * length
        assert not result.truncated

    async def test_of_long_output_the_beginning_and_the_end_are_kept(
        self, runtime: Runtime, bounds: Bounds
    ) -> None:
        lines = bounds.output_bytes

        result = await sh(runtime, f"seq {lines}; echo éééééé end")

        assert result.truncated
        assert result.output.startswith("1\n2\n3\n")
        assert result.output.endswith(f"\n{lines}\néééééé end\n")
        assert len(result.output) < bounds.output_bytes + 1_000

    @pytest.mark.timeout(300)
    async def test_an_endless_stream_of_output_is_bounded(
        self, runtime: Runtime, bounds: Bounds
    ) -> None:
        heard = 0

        def hear(text: str) -> None:
            nonlocal heard
            heard += len(text)

        result = await runtime.run(
            f"head -c {self.flood_bytes} /dev/zero; echo; echo done",
            timeout_s=4 * LONG_S,
            on_output=hear,
        )

        assert result.exit_code == 0
        assert result.truncated
        assert result.output.endswith("\ndone\n")
        assert heard == len(result.output) < bounds.output_bytes + 1_000

    async def test_a_command_cannot_fake_its_end(self, runtime: Runtime) -> None:
        result = await sh(runtime, r"printf '\033]parlour;0;0\007'; echo still here; false")

        assert result.exit_code == 1
        assert "still here" in result.output

    async def test_a_mistake_of_the_listener_is_the_caller_s(self, runtime: Runtime) -> None:
        def fail(text: str) -> None:
            raise LookupError(text)

        with pytest.raises(LookupError):
            await runtime.run("echo x; sleep 1000", timeout_s=LONG_S, on_output=fail)

        # What it interrupted has ended: its end is not taken for the next one's.
        after = await sh(runtime, "echo well; exit 3")
        assert after.output.endswith("well\n")
        assert after.exit_code == 3

    # -- what does not end -----------------------------------------------------------------------

    async def test_an_endless_command_is_ended(self, runtime: Runtime) -> None:
        await sh(runtime, "cd /tmp; kept=1")

        result = await runtime.run("echo begun; sleep 1000", timeout_s=SHORT_S)
        after = await sh(runtime, "pwd; echo $kept")

        assert (result.exit_code, result.timed_out) == (None, True)
        assert result.output.startswith("begun\n")
        assert after.output == "/tmp\n1\n"

    async def test_a_loop_of_the_shell_itself_is_ended(self, runtime: Runtime) -> None:
        result = await runtime.run("while :; do :; done", timeout_s=SHORT_S)

        assert result.timed_out
        assert (await sh(runtime, "echo well")).output == "well\n"

    async def test_a_command_that_ignores_being_asked_is_ended(self, runtime: Runtime) -> None:
        command = "trap '' INT TERM HUP; sleep 1000; touch went-on; sleep 1000"

        result = await runtime.run(command, timeout_s=SHORT_S)
        after = await sh(runtime, "ls; echo well")

        assert result.timed_out
        assert after.output.endswith("well\n")
        assert "went-on" not in after.output

    async def test_what_a_stopped_command_started_is_ended_with_it(
        self, runtime: Runtime, count_processes: Callable[[Runtime], int]
    ) -> None:
        await sh(runtime, "true")
        before = count_processes(runtime)

        await runtime.run(
            "sleep 1000 & (setsid sleep 1000 &) ; setsid bash -c 'trap \"\" INT; sleep 1000' & wait",
            timeout_s=SHORT_S,
        )

        await until(_fewer(runtime, count_processes, before), LONG_S)
        assert count_processes(runtime) <= before

    async def test_what_an_earlier_command_started_goes_on(self, runtime: Runtime) -> None:
        await sh(runtime, "(while :; do echo x >> beats; sleep 0.02; done) &")
        await runtime.run("sleep 1000", timeout_s=SHORT_S)
        await sh(runtime, "rm beats")

        result = await sh(runtime, "until [ -s beats ]; do sleep 0.02; done; echo goes on")

        assert result.output.endswith("goes on\n")

    async def test_cancelling_ends_the_command(
        self, runtime: Runtime, count_processes: Callable[[Runtime], int]
    ) -> None:
        await sh(runtime, "true")
        before = count_processes(runtime)
        running, begun = begin(runtime, "echo begun; sleep 1000")
        await asyncio.wait_for(begun.wait(), LONG_S)

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        await until(_fewer(runtime, count_processes, before), LONG_S)
        assert (await sh(runtime, "echo well")).output == "well\n"

    async def test_a_command_that_waits_for_its_turn_can_be_cancelled(
        self, runtime: Runtime
    ) -> None:
        running, begun = begin(runtime, "echo begun; until [ -e go ]; do sleep 0.02; done")
        await asyncio.wait_for(begun.wait(), LONG_S)
        waiting = asyncio.create_task(sh(runtime, "touch ran"))
        await asyncio.sleep(0)

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await runtime.write_file("go", "")
        await running

        assert "ran" not in [entry.path for entry in await runtime.list_files()]

    # -- closing ---------------------------------------------------------------------------------

    async def test_nothing_survives_closing(
        self, make: RuntimeFactory, count_processes: Callable[[Runtime], int]
    ) -> None:
        async with opened(make) as runtime:
            await sh(runtime, "sleep 1000 & (setsid nohup sleep 1000 > /dev/null 2>&1 &)")
            await sh(
                runtime,
                "python3 -c 'import os, time; os.fork() or (os.setsid(), time.sleep(999))' &",
            )
            await runtime.run_cell("import subprocess; subprocess.Popen(['sleep', '1000'])", LONG_S)
            alive = count_processes(runtime)

            await runtime.close()

            await until(_fewer(runtime, count_processes, 0), LONG_S)
            assert alive >= 3

    async def test_closing_ends_a_command_that_runs(self, make: RuntimeFactory) -> None:
        async with opened(make) as runtime:
            running, begun = begin(runtime, "echo begun; sleep 1000")
            await asyncio.wait_for(begun.wait(), LONG_S)

            await runtime.close()

            with pytest.raises(RuntimeUnavailable):
                await asyncio.wait_for(running, LONG_S)

    async def test_closing_twice_is_closing_once(self, make: RuntimeFactory) -> None:
        async with opened(make) as runtime:
            await sh(runtime, "true")
            await runtime.close()

            await runtime.close()

            with pytest.raises(RuntimeUnavailable):
                await sh(runtime, "true")
            with pytest.raises(RuntimeUnavailable):
                await runtime.read_file("x")

    async def test_files_stay_for_the_next_opening(self, make: RuntimeFactory) -> None:
        name = session_id()
        async with opened(make, name) as runtime:
            await runtime.write_file("kept.txt", "kept")

        async with opened(make, name) as runtime:
            assert await runtime.read_file("kept.txt") == "kept"
            assert (await sh(runtime, "cat kept.txt")).output == "kept"

    async def test_a_workspace_that_killed_itself_comes_back(self, runtime: Runtime) -> None:
        await sh(runtime, "echo kept > file")

        killed = await sh(runtime, "kill -9 $PPID; kill -9 $$; sleep 5")
        after = await sh(runtime, "cat file")

        assert killed.exit_code not in (0, None)
        assert after.output.endswith("kept\n")

    # -- cells -----------------------------------------------------------------------------------

    async def test_a_cell_keeps_its_names_and_shows_its_last_expression(
        self, runtime: Runtime
    ) -> None:
        await runtime.run_cell("import math\ndef double(x):\n    return 2 * x\nx = 20", LONG_S)

        result = await runtime.run_cell("print('printed')\nx += 1\ndouble(x)", LONG_S)

        assert result == CommandResult(0, "printed\n42\n")

    async def test_a_cell_that_raises_tells_its_traceback(self, runtime: Runtime) -> None:
        result = await runtime.run_cell("kept = 1\ndef f():\n    return 1 / 0\nf()", LONG_S)
        after = await runtime.run_cell("kept", LONG_S)

        assert result.exit_code == 1
        assert "return 1 / 0" in result.output
        assert result.output.endswith("ZeroDivisionError: division by zero\n")
        assert after.output == "1\n"

    async def test_a_cell_that_is_no_python_is_an_error(self, runtime: Runtime) -> None:
        result = await runtime.run_cell("def f(:", LONG_S)

        assert result.exit_code == 1
        assert "SyntaxError" in result.output

    async def test_a_cell_may_await(self, runtime: Runtime) -> None:
        code = "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 5\nawait f()"

        assert await runtime.run_cell(code, LONG_S) == CommandResult(0, "5\n")

    async def test_an_endless_cell_is_ended_and_its_names_stay(self, runtime: Runtime) -> None:
        await runtime.run_cell("x = 1", LONG_S)

        result = await runtime.run_cell("while True: pass", SHORT_S)
        after = await runtime.run_cell("x", LONG_S)

        assert (result.exit_code, result.timed_out) == (None, True)
        assert after.output == "1\n"

    async def test_an_interpreter_that_died_is_replaced(self, runtime: Runtime) -> None:
        died = await runtime.run_cell("import os; os._exit(9)", LONG_S)
        after = await runtime.run_cell("print('well')", LONG_S)

        assert died.exit_code == 9
        assert after.exit_code == 0
        assert after.output.endswith("well\n")

    async def test_a_cell_that_exits_keeps_the_interpreter(self, runtime: Runtime) -> None:
        ended = await runtime.run_cell("x = 1; import sys; sys.exit(4)", LONG_S)

        assert ended.exit_code == 4
        assert (await runtime.run_cell("x", LONG_S)).output == "1\n"

    async def test_a_cell_s_output_is_bounded(self, runtime: Runtime, bounds: Bounds) -> None:
        result = await runtime.run_cell(f"'x' * {20 * bounds.output_bytes}", LONG_S)
        printed = await runtime.run_cell(f"print('x' * {20 * bounds.output_bytes})", LONG_S)

        assert len(result.output) < bounds.output_bytes + 1_000
        assert printed.truncated
        assert len(printed.output) < bounds.output_bytes + 1_000

    async def test_cells_and_commands_share_the_files(self, runtime: Runtime) -> None:
        await sh(runtime, "echo 'VALUE = 12' > made.py")

        result = await runtime.run_cell("import made; made.VALUE", LONG_S)

        assert result.output == "12\n"

    # -- files -----------------------------------------------------------------------------------

    async def test_a_written_file_is_read_back(self, runtime: Runtime) -> None:
        text = "erste Zeile\r\nzweite — ünïcode 🎈\n"

        await runtime.write_file("deep/down/file.txt", text)

        assert await runtime.read_file("deep/down/file.txt") == text
        assert (await sh(runtime, "cat deep/down/file.txt | wc -c | tr -d ' '")).output == (
            f"{len(text.encode())}\n"
        )

    async def test_commands_can_change_what_was_written(self, runtime: Runtime) -> None:
        await runtime.write_file("sub/a.txt", "one\n")

        result = await sh(runtime, "echo two >> sub/a.txt && touch sub/b && mv sub moved")

        assert result == CommandResult(0, "")
        assert await runtime.read_file("moved/a.txt") == "one\ntwo\n"

    async def test_what_commands_wrote_can_be_replaced(self, runtime: Runtime) -> None:
        await sh(runtime, "mkdir d; echo '#!/bin/sh' > d/run; chmod 755 d/run; chmod 700 d")

        await runtime.write_file("d/run", "#!/bin/sh\necho replaced\n")

        assert (await sh(runtime, "d/run")).output == "replaced\n"

    async def test_an_edit_replaces_the_one_place(self, runtime: Runtime) -> None:
        await runtime.write_file("a.py", "x = 1\ny = 2\n")

        await runtime.edit_file("a.py", "y = 2", "y = 3")

        assert await runtime.read_file("a.py") == "x = 1\ny = 3\n"

    @pytest.mark.parametrize("old", ["absent", "x", ""])
    async def test_an_edit_without_one_place_changes_nothing(
        self, runtime: Runtime, old: str
    ) -> None:
        await runtime.write_file("a.py", "x = x\n")

        with pytest.raises(Conflict):
            await runtime.edit_file("a.py", old, "z")

        assert await runtime.read_file("a.py") == "x = x\n"

    async def test_an_edit_leaves_bytes_that_are_no_text_alone(self, runtime: Runtime) -> None:
        await sh(runtime, r"printf 'a\377b old \000' > mixed")

        await runtime.edit_file("mixed", "old", "new")

        found = await sh(runtime, "od -An -tx1 mixed | tr -d ' \\n'")
        assert found.output == b"a\xffb new \0".hex()

    async def test_what_is_not_there_is_not_found(self, runtime: Runtime) -> None:
        with pytest.raises(NotFound):
            await runtime.read_file("absent.txt")
        with pytest.raises(NotFound):
            await runtime.read_file("absent/file.txt")
        with pytest.raises(NotFound):
            await runtime.edit_file("absent.txt", "a", "b")

    async def test_what_is_no_file_conflicts(self, runtime: Runtime) -> None:
        await sh(runtime, "mkdir folder; mkfifo pipe; echo > file")

        for path in ("folder", "pipe", "file/below"):
            with pytest.raises(Conflict):
                await asyncio.wait_for(runtime.read_file(path), LONG_S)
            with pytest.raises(Conflict):
                await asyncio.wait_for(runtime.write_file(path, "x"), LONG_S)

    async def test_a_file_past_the_limit_is_refused(self, runtime: Runtime, bounds: Bounds) -> None:
        await sh(runtime, f"truncate -s {bounds.read_bytes + 1} big")

        with pytest.raises(TooLarge):
            await runtime.read_file("big")
        with pytest.raises(TooLarge):
            await runtime.write_file("made", "x" * (bounds.read_bytes + 1))

        assert "made" not in [entry.path for entry in await runtime.list_files()]

    async def test_files_are_listed_by_path_with_their_size(self, runtime: Runtime) -> None:
        await runtime.write_file("b.txt", "12345")
        await runtime.write_file("a/x.txt", "")
        await sh(runtime, "mkdir -p .git/objects; touch .git/objects/x; ln -s / root")

        entries = await runtime.list_files()

        shown = [
            (entry.path, entry.size, entry.folder) for entry in entries if entry.path != "root"
        ]
        assert shown == [
            (".git", 0, True),
            ("a", 0, True),
            ("a/x.txt", 0, False),
            ("b.txt", 5, False),
        ]
        assert all(entry.modified_at > 1_600_000_000_000 for entry in entries)
        assert not [entry for entry in entries if entry.path.startswith("root/")]

    # -- escapes ---------------------------------------------------------------------------------

    async def test_no_path_leads_out_of_the_workspace(self, runtime: Runtime) -> None:
        await sh(runtime, "ln -s / link; ln -s loop loop; ln -s /etc/passwd file-link; mkdir -p a")

        for path in ESCAPES:
            for attempt in (
                runtime.read_file(path),
                runtime.write_file(path, "escaped"),
                runtime.edit_file(path, "root", "escaped"),
            ):
                with pytest.raises(WorkspaceEscape):
                    await attempt

    @pytest.mark.parametrize("path", ["", ".", "a\0b", "x" * 300, "x/" * 3000])
    async def test_what_is_no_path_is_refused(self, runtime: Runtime, path: str) -> None:
        with pytest.raises(InvalidPayload):
            await runtime.write_file(path, "x")

    async def test_a_folder_swapped_for_a_link_leads_nowhere(self, runtime: Runtime) -> None:
        await runtime.write_file("d/passwd", "mine\n")
        swapping, begun = begin(
            runtime,
            "echo begun; until [ -e stop ]; do mv d e; ln -s /etc d; rm d; mv e d; done",
        )
        await asyncio.wait_for(begun.wait(), LONG_S)

        seen = {await _outcome(runtime.read_file("d/passwd")) for _ in range(200)}
        await runtime.write_file("stop", "")
        await swapping

        assert seen <= {"mine\n", "NotFound", "WorkspaceEscape"}
        assert await _outcome(runtime.read_file("d/passwd")) == "mine\n"

    async def test_another_session_s_folder_cannot_be_read(self, make: RuntimeFactory) -> None:
        async with opened(make) as mine, opened(make) as theirs:
            await theirs.write_file("secret.txt", "hunter2")
            where = (await sh(theirs, "pwd -P")).output.strip()
            places = f"{where} ../*/secret.txt /workspace /proc/[0-9]*/cwd /proc/[0-9]*/root{where}"

            result = await sh(mine, f"for at in {places}; do cat $at $at/secret.txt 2>&1; done")
            cell = await mine.run_cell(f"open({where + '/secret.txt'!r}).read()", LONG_S)

        assert "hunter2" not in result.output
        assert cell.exit_code == 1

    async def test_another_session_s_processes_cannot_be_ended(self, make: RuntimeFactory) -> None:
        async with opened(make) as mine, opened(make) as theirs:
            running, begun = begin(
                theirs, "echo begun; until [ -e go ]; do sleep 0.02; done; echo ok"
            )
            await asyncio.wait_for(begun.wait(), LONG_S)

            await sh(mine, "kill -9 -1; for p in /proc/[0-9]*; do kill -9 ${p#/proc/}; done 2>&1")
            await theirs.write_file("go", "")

            assert (await running).output.endswith("ok\n")

    async def test_the_system_cannot_be_changed(self, runtime: Runtime) -> None:
        result = await sh(
            runtime,
            "id -u; touch /usr/x /usr/bin/x 2>/dev/null && echo changed; "
            "mount -t tmpfs none /mnt 2>/dev/null && echo mounted; "
            "cat /etc/shadow 2>/dev/null && echo read; true",
        )

        user, *others = result.output.split()
        assert user != "0"
        assert others == []

    async def test_a_fork_bomb_is_bounded_and_the_workspace_comes_back(
        self, make: RuntimeFactory, bounds: Bounds, count_processes: Callable[[Runtime], int]
    ) -> None:
        if bounds.processes is None:
            pytest.skip("nothing limits the processes here")
        async with opened(make) as runtime:
            # Never light a bomb without having seen the limit that holds it.
            limited = await sh(runtime, "ulimit -Hu; id -u")
            limit, user = limited.output.split()
            assert limit != "unlimited"
            assert int(limit) <= bounds.processes
            assert user != "0"

            await runtime.run("b() { b | b & }; b; sleep 1", timeout_s=3.0)
            at_most = count_processes(runtime)
            after = await runtime.run("echo well", timeout_s=LONG_S)
            await runtime.close()

            await until(_fewer(runtime, count_processes, 0), LONG_S)
            assert at_most <= bounds.processes + 10
            # What is left of the bomb, where the workspace did not have to be cleared, may still complain.
            assert "well" in after.output.splitlines()

    async def test_a_file_that_grows_is_bounded(self, runtime: Runtime, bounds: Bounds) -> None:
        twice = 2 * bounds.file_bytes

        result = await sh(runtime, f"head -c {twice} /dev/zero > big; echo $?; stat -c %s big")

        code, size = result.output.split()[-2:]
        assert code != "0"
        assert int(size) <= bounds.file_bytes

    async def test_memory_is_bounded(self, runtime: Runtime) -> None:
        result = await runtime.run_cell("x = bytearray(1 << 40)", LONG_S)

        assert result.exit_code == 1
        assert "MemoryError" in result.output


# -- small helpers -----------------------------------------------------------------------------------


def session_id() -> str:
    return uuid.uuid4().hex


def opened(make: RuntimeFactory, name: str = "") -> AbstractAsyncContextManager[Runtime]:
    @asynccontextmanager
    async def _opened() -> AsyncIterator[Runtime]:
        runtime = make(name or session_id())
        await runtime.open()
        try:
            yield runtime
        finally:
            await runtime.close()

    return _opened()


async def sh(runtime: Runtime, command: str) -> CommandResult:
    return await runtime.run(command, timeout_s=LONG_S)


def begin(runtime: Runtime, command: str) -> tuple[asyncio.Task[CommandResult], asyncio.Event]:
    """A command that runs, and the event that it has said something."""
    begun = asyncio.Event()

    def hear(text: str) -> None:
        begun.set()

    return asyncio.create_task(runtime.run(command, timeout_s=LONG_S, on_output=hear)), begun


def _fewer(
    runtime: Runtime, count_processes: Callable[[Runtime], int], bound: int
) -> Callable[[], Awaitable[bool]]:
    async def fewer() -> bool:
        return count_processes(runtime) <= bound

    return fewer


async def _outcome(reading: Awaitable[Any]) -> str:
    try:
        return str(await reading)
    except (NotFound, WorkspaceEscape) as error:
        return type(error).__name__
