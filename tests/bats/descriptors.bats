#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The caller's descriptors, in whatever state they are: non-blocking, full, half-closed, none to read.
load helpers

# Runs python that has the command in `argv`.
python() {
	timeout 100 /usr/bin/python3 -c "import os, signal, subprocess, sys, time
argv = sys.argv[1:]
$1" "${command[@]}"
}

@test "descriptors: a non-blocking stdout loses nothing to a slow reader" {
	python '
r, w = os.pipe()
os.set_blocking(w, False)
child = subprocess.Popen(argv + ["/usr/bin/head", "-c", "2000000", "/dev/zero"], stdout=w)
os.close(w)
time.sleep(4)
total = 0
while data := os.read(r, 30000):
    total += len(data)
print(total, child.wait())
sys.exit((total, child.returncode) != (2000000, 0))'
}

@test "descriptors: a non-blocking stdin is waited for" {
	python '
r, w = os.pipe()
os.set_blocking(r, False)
child = subprocess.Popen(argv + ["/usr/bin/wc", "-c"], stdin=r, stdout=subprocess.PIPE)
os.close(r)
time.sleep(4)
os.write(w, b"x" * 1000)
os.close(w)
out = child.communicate()[0]
print(out, child.returncode)
sys.exit((int(out), child.returncode) != (1000, 0))'
}

@test "descriptors: the caller's flags stay as they are" {
	python '
import fcntl
pipes = [os.pipe() for _ in range(3)]
mine = [pipes[0][0], pipes[1][1], pipes[2][1]]
for fd in mine:
    os.set_blocking(fd, fd != mine[1])
before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in mine]
os.close(pipes[0][1])
child = subprocess.Popen(argv + ["/bin/cat"], stdin=mine[0], stdout=mine[1], stderr=mine[2])
child.wait()
sys.exit(before != [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in mine])'
}

@test "descriptors: a full disk behind stdout is an error, not silence" {
	status=0
	timeout 60 "${command[@]}" /bin/echo hello >/dev/full 2>err || status=$?
	cat err
	[ "$status" -eq 125 ]
	grep -q 'stdout: bytes were lost: No space left on device' err
}

@test "descriptors: a stdin that is a directory, or write-only, is empty" {
	[ "$(timeout 60 "${command[@]}" /usr/bin/wc -c </)" -eq 0 ]
	[ "$(timeout 60 "${command[@]}" /usr/bin/wc -c 0>/dev/null)" -eq 0 ]
}

@test "descriptors: a stdout that the program closes ends for its reader" {
	python '
child = subprocess.Popen(argv + ["/bin/sh", "-c", "echo a; exec >&-; sleep 1000"], stdout=subprocess.PIPE)
out = child.stdout.read()
child.send_signal(signal.SIGTERM)
print(out, child.wait())
sys.exit((out, child.returncode) != (b"a\n", 143))'
}

@test "descriptors: a stdin that the program closes ends for its writer" {
	python '
child = subprocess.Popen(argv + ["/bin/sh", "-c", "exec <&-; sleep 1000"], stdin=subprocess.PIPE)
try:
    while True:
        os.write(child.stdin.fileno(), b"x" * 4096)
except BrokenPipeError:
    print("EPIPE")
child.send_signal(signal.SIGTERM)
sys.exit(child.wait() != 143)'
}

@test "descriptors: a stderr that nobody reads changes no exit status" {
	mkfifo nobody
	: <nobody &
	status=0
	timeout 60 "${command[@]}" --timeout 3s /bin/sleep 1000 2>nobody || status=$?
	wait
	[ "$status" -eq 124 ]
}

@test "descriptors: arguments of a megabyte and more" {
	a=$(head -c 100000 /dev/zero | tr '\0' x)
	# shellcheck disable=SC2016 # for the guest's shell
	vmbox /bin/sh -c 'n=0; for a; do n=$((n + ${#a})); done; echo $n' sh "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a" "$a"
	[ "$status" -eq 0 ]
	[ "$output" -eq 1400000 ]
}
