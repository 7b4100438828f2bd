"""The process that stands between the server and what runs in one workspace.

It runs alone, below the limits of the sandbox, with the standard library only: the server starts it and
never imports it. It owns the terminals of the shell and of the Python interpreter, cuts their output to
its bound *here*, so that a gigabyte never reaches the server, and ends processes: it is the reaper of all
that runs below it, so a daemon that detached itself is found like any other child.

Frames on its descriptor 0, both ways: four bytes of length (big endian), then a JSON object.

    to the keeper     the configuration, first
                      {"op": "run", "console": "shell" | "cell", "text": …}
                      {"op": "stop"}         end what runs, with everything that it started
                      end of file            end everything
    from the keeper   {"op": "ready"} or {"op": "failed", "reason": …}, once
                      {"op": "output", "text": …}
                      {"op": "end", "code": …, "truncated": …}

The end of a command is told in the terminal itself, by a mark that nobody can guess, because only there it
stands behind the last byte of the output.
"""
