# SPDX-License-Identifier: GPL-2.0-only
"""A terminal and the shell behind it, as far as job control goes, for tests/bats/terminal.bats.

terminal.py SCRIPT COMMAND...: runs SCRIPT, Python, with what is defined here; `start()` starts
COMMAND as a shell starts a job. Every wait ends after 60 seconds with what was seen until then.
"""
import contextlib, fcntl, os, re, signal, struct, sys, termios, threading, time

LIMIT = 60
if os.fork():  # a session cannot be made by who leads a process group
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os.setsid()
master, tty = os.openpty()
fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
seen = b""
lock = threading.Condition()
job = 0


def reader():
    global seen
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            return
        with lock:
            seen += data
            lock.notify_all()


threading.Thread(target=reader, daemon=True).start()


def fail(what):
    with contextlib.suppress(ProcessLookupError):
        if job:
            os.killpg(job, signal.SIGKILL)
    sys.exit(f"{what}; the terminal shows: {seen!r}")


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def start(*args, foreground=True, stderr=None):
    """The job's command is COMMAND and args; its streams are the terminal, but for stderr."""
    global job
    go, gone = os.pipe()
    started, runs = os.pipe()  # closed by exec
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.close(gone)
        os.read(go, 1)
        for sig in (signal.SIGTTOU, signal.SIGINT, signal.SIGPIPE):
            signal.signal(sig, signal.SIG_DFL)
        for fd in (0, 1, 2):
            os.dup2(tty, fd)
        if stderr:
            os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        command = sys.argv[2:] + list(args)
        os.execv(command[0], command)
    try:
        os.setpgid(job, job)
    except OSError:
        pass
    os.tcsetpgrp(tty, job if foreground else os.getpgrp())
    os.close(gone)
    os.close(go)
    os.close(runs)
    os.read(started, 1)
    os.close(started)


def type(text):
    os.write(master, text.encode())


def expect(pattern):
    """Waits for a regular expression; forgets what is up to its end."""
    global seen
    end = time.monotonic() + LIMIT
    with lock:
        while True:
            match = re.search(pattern.encode(), seen, re.S)
            if match:
                seen = seen[match.end():]
                return match
            if not lock.wait(max(0, end - time.monotonic())) and time.monotonic() > end:
                fail(f"{pattern!r} never came")


def wait(flags=0):
    """Of the job: ("exited", status), ("killed", signal) or ("stopped", signal)."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        pid, status = os.waitpid(job, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            os.tcsetpgrp(tty, os.getpgrp())
            return "stopped", os.WSTOPSIG(status)
        if pid:
            os.tcsetpgrp(tty, os.getpgrp())
            return ("killed", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (
                "exited", os.WEXITSTATUS(status))
        time.sleep(0.02)
    fail("the job neither ended nor stopped")


def expect_end(how, number):
    was = wait()
    if was != (how, number):
        fail(f"the job: {was}, and not {(how, number)}")


def carry_on(foreground=True):
    os.tcsetpgrp(tty, job if foreground else os.getpgrp())
    os.killpg(job, signal.SIGCONT)


def is_raw():
    return not termios.tcgetattr(tty)[3] & termios.ICANON


def eventually(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            fail("a condition never came true")
        time.sleep(0.02)


def check(condition, what=""):
    if not condition:
        fail(f"not so: {what}")


resize(33, 111)
before = termios.tcgetattr(tty)
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"))
check(termios.tcgetattr(tty) == before, "the terminal's modes are as before")
