"""`kiro …` on a pseudo-terminal."""

import os
import select
import sys
import time

if sys.platform != "win32":
    import pty


class Terminal:
    """`kiro …` on a pseudo-terminal: `expect` a text, `type` a line, `status` at the end."""

    def __init__(self, env, *arguments):
        self.seen = ""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "kiro", *arguments], env | {"TERM": "xterm"})

    def expect(self, text, seconds=15):
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come: {self.seen}"
            self._read()

    def type(self, line):
        os.write(self.handle, f"{line}\n".encode())

    def status(self):
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.handle)
        return os.waitstatus_to_exitcode(status)

    def _read(self):
        if not select.select([self.handle], [], [], 1)[0]:
            return True
        try:
            data = os.read(self.handle, 65536)
        except OSError:  # Linux says so when the other end is closed
            data = b""
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def interrupt(self):
        """Ctrl-C."""
        os.write(self.handle, b"\x03")

    def after(self, text):
        """The next word behind `text`."""
        self.expect(text)
        while not self.seen.partition(text)[2].strip().split() or "\n" not in self.seen.partition(text)[2].lstrip():
            self._read()
        return self.seen.partition(text)[2].split()[0]
