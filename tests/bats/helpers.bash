# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# For all Bats files. They run in the lab (scripts/test), against /dev/vmbox; with VMBOX_DEVICE
# set, against that device.
bats_require_minimum_version 1.5.0

TREE=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
VMBOX=$TREE/build/runtime/vmbox
GUEST=$TREE/build/guest-init
# shellcheck disable=SC2034 # used by the tests
GUESTS=$TREE/build/tests/guests
# The machine's: the driver, and stock KVM's module.
# shellcheck disable=SC2034
if grep -qw vmx /proc/cpuinfo; then
	DRIVER=$TREE/build/kmod-intel/vmbox.ko KVM=kvm_intel
else
	DRIVER=$TREE/build/kmod/vmbox.ko KVM=kvm_amd
fi
device=()
[ -z "${VMBOX_DEVICE-}" ] || device=(--device "$VMBOX_DEVICE")
command=("$VMBOX" run --guest-dir "$GUEST" "${device[@]}")

# Runs vmbox with a limit in time: $status, $output, $stderr.
vmbox() {
	local flags=(--separate-stderr)
	while [[ ${1-} == -[0-9]* ]]; do
		flags+=("$1")
		shift
	done
	run "${flags[@]}" timeout -k 5 "${LIMIT:-120}" "${command[@]}" "$@"
	show
}

# The command and what it gave, shown by Bats when the test fails.
show() {
	echo "status $status"
	echo "stdout: ${output:0:4000}"
	echo "stderr: ${stderr:0:4000}"
}

# What a report says: "REASON STATUS LIMIT...".
reason() { # FILE
	tr -d '\n' <"$1" | sed -E 's/.*"reason": "([^"]*)", *"status": ([^,]*),.*"limits": \[([^]]*)\].*/\1 \2 \3/; s/[", ]+/ /g; s/ $//'
}

# Starts vmbox in the background, with its streams in files: $pid. SIGINT is not ignored.
start() {
	env --default-signal=INT,QUIT "${command[@]}" "$@" <"${STDIN:-/dev/null}" >"$T/out" 2>"$T/err" 3>&- &
	pid=$!
}

# Waits until a command is true; 60 s.
eventually() {
	for _ in $(seq 600); do
		if "$@"; then return 0; fi
		sleep 0.1
	done
	echo "never true: $*"
	head -c 2000 "$T/out" "$T/err" 2>/dev/null
	return 1
}

# Waits for $pid: $status; fails when that takes over 10 s.
finish() {
	local began=$SECONDS
	status=0
	wait "$pid" || status=$?
	echo "status $status, after $((SECONDS - began)) s"
	for f in "$T/out" "$T/err"; do
		[ ! -f "$f" ] || head -c 2000 "$f" # a test may have made it a pipe
	done
	[ $((SECONDS - began)) -le 10 ]
}

# Holds a VM of a device until release().
hold() { # device
	mkfifo "$T/hold"
	"$GUESTS/holdvm" "$1" <"$T/hold" >"$T/held" 2>&1 3>&- &
	exec {hold}>"$T/hold"
	eventually grep -q held "$T/held"
}

release() {
	exec {hold}>&-
	wait
	rm -f "$T/hold"
}

vmbox_processes() { # as /proc/PID/exe
	find /proc -maxdepth 2 -name exe -lname "$VMBOX*" 2>/dev/null || true
}

no_processes() {
	[ -z "$(vmbox_processes)" ]
}

setup() {
	T=$(mktemp -d /tmp/t.XXXXXX)
	cd "$T" || return
	[ -n "${leftover_before-}" ] || leftover_before=$(leftovers)
}

leftovers() {
	find /tmp /run /dev/shm /var/tmp -maxdepth 1 -name '*vmbox*' 2>/dev/null | sort
}

# Nothing of vmbox may stay: no process, no file.
teardown() {
	local bad=0
	for _ in $(seq 20); do
		no_processes && break
		sleep 0.1
	done
	if ! no_processes; then
		echo "processes are left:"
		# shellcheck disable=SC2046
		ls -l $(vmbox_processes)
		# shellcheck disable=SC2046
		kill -9 $(vmbox_processes | cut -d/ -f3)
		bad=1
	fi
	if [ "$(leftovers)" != "$leftover_before" ]; then
		echo "files are left: $(leftovers)"
		bad=1
	fi
	cd / && rm -rf "$T"
	return $bad
}
