#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# However vmbox ends, nothing stays: the teardown of helpers.bash looks for it.
load helpers

ends_by() { # signal number
	start /bin/sh -c 'echo ready; while :; do :; done'
	eventually grep -q ready out
	kill "-$1" "$pid"
	finish
	[ "$status" -eq $((128 + $1)) ]
}

@test "signals: SIGINT ends it" { ends_by 2; }
@test "signals: SIGTERM ends it" { ends_by 15; }
@test "signals: SIGHUP ends it" { ends_by 1; }

@test "signals: SIGTERM during the boot" {
	for delay in 0.02 0.1 0.3 0.6 1; do
		start /bin/sleep 100
		sleep $delay
		kill "$pid"
		finish
		[ "$status" -eq 143 ]
	done
}

@test "signals: a program that handles them has them" {
	start /bin/bash -c 'for s in INT TERM HUP QUIT USR1 USR2 WINCH CONT; do trap "echo got $s" $s; done
		trap "echo got TSTP; exit 5" TSTP
		echo ready; while :; do sleep 0.05; done'
	eventually grep -q ready out
	for s in INT TERM HUP QUIT USR1 USR2 WINCH CONT; do
		kill "-$s" "$pid"
		eventually grep -q "got $s" out
	done
	kill -TSTP "$pid"
	finish
	[ "$status" -eq 5 ]
}

@test "signals: one that is not handled ends it; the group has what the terminal sends" {
	for s in USR1 QUIT; do
		start /bin/sh -c 'echo ready; exec sleep 1000'
		eventually grep -q ready out
		kill "-$s" "$pid"
		finish
		[ "$status" -eq $((128 + $(kill -l $s))) ]
	done
}

@test "signals: a second SIGINT ends what ignores the first" {
	start /bin/sh -c 'trap "echo caught" INT; echo ready; while :; do :; done'
	eventually grep -q ready out
	kill -INT "$pid"
	eventually grep -q caught out
	sleep 0.5
	kill -INT "$pid"
	finish
	[ "$status" -eq 130 ]
}

@test "signals: SIGTSTP stops the program, the guest and vmbox; SIGCONT goes on" {
	set -m # a process group of its own: an orphaned one does not stop
	start /bin/sh -c 'echo ready; while :; do sleep 0.1; echo tick; done'
	set +m
	eventually grep -q tick out
	kill -TSTP "$pid"
	eventually grep -q '^State:.T' "/proc/$pid/status"
	before=$(wc -c <out)
	for child in $(cat "/proc/$pid/task/$pid/children"); do
		grep -q '^State:.T' "/proc/$child/status"
	done
	sleep 1
	[ "$(wc -c <out)" -eq "$before" ]
	kill -CONT "$pid"
	eventually sh -c "[ \$(wc -c <out) -gt $before ]"
	kill "$pid"
	finish
	[ "$status" -eq 143 ]
}

@test "signals: what vmbox was started to ignore the program never sees" {
	( trap '' HUP; start /bin/sh -c 'echo ready; sleep 2; echo on'; echo "$pid" >pid; wait "$pid"; echo $? >status ) &
	eventually grep -q ready out
	kill -HUP "$(cat pid)"
	eventually test -s status
	[ "$(cat status)" = 0 ]
	grep -q on out
}

@test "signals: SIGKILL of the launcher leaves nothing" {
	start /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready out
	kill -9 "$pid"
	wait "$pid" || true
	eventually no_processes
}

terminal() { # python that has the terminal `m` and the child `pid`
	/usr/bin/python3 - "${command[@]}" /bin/sh -c 'echo ready; sleep 100' <<-END
		import os, pty, sys, time, signal
		pid, m = pty.fork()
		if pid == 0:
		    os.execv(sys.argv[1], sys.argv[1:])
		seen = b""
		while b"ready" not in seen:
		    seen += os.read(m, 1000)
		began = time.time()
		$1
		_, status = os.waitpid(pid, 0)
		code = os.waitstatus_to_exitcode(status)
		code = 128 - code if code < 0 else code
		print("status", code, "after", time.time() - began)
		sys.exit(code != $2 or time.time() - began > 10)
	END
}

@test "signals: Ctrl-C on a terminal" {
	terminal 'os.write(m, b"\x03")' 130
}

@test "signals: a closed terminal" {
	terminal 'os.close(m)' 129
}

@test "signals: an ended program takes its children with it" {
	vmbox /bin/sh -c 'sleep 1000 & exit 4'
	[ "$status" -eq 4 ]
}

@test "signals: two at once" {
	start /bin/sleep 1000
	first=$pid
	timeout 60 "${command[@]}" /bin/sh -c 'exit 2' || [ $? -eq 2 ]
	kill "$first"
	wait "$first" || true
}
