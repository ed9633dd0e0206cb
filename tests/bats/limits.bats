#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Each limit of a policy, what is said when it is met, and that it cannot be gone around. (Wall time and
# memory: options, programs; quotas: fs, overlay.)
load helpers

@test "limits: processor time" {
	vmbox --report r.json --cpu 8s --wall 100s /bin/sh -c 'echo begun; while :; do :; done'
	[ "$status" -eq 124 ]
	[ "$output" = begun ]
	[ "$stderr" = "vmbox: the limit of processor time is reached (--cpu): the program was ended" ]
	[ "$(reason r.json)" = "cpu 124 cpu" ]
}

@test "limits: a program that sleeps takes no processor time" {
	vmbox --cpu 8s /bin/sh -c 'sleep 12; exit 3'
	[ "$status" -eq 3 ]
	[ -z "$stderr" ]
}

@test "limits: the bytes of stdout, to the last one" {
	status=0
	"${command[@]}" --stdout 100000 /bin/sh -c 'head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; exit 5' >out 2>err || status=$?
	[ "$status" -eq 5 ]
	[ "$(stat -c %s out err)" = $'100000\n100000' ]
	status=0
	"${command[@]}" --stdout 100000 /bin/sh -c 'head -c 99999 /dev/zero; echo bc; sleep 1000' >out 2>err || status=$?
	[ "$status" -eq 123 ]
	[ "$(stat -c %s out)" -eq 100000 ]
	[ "$(tail -c 1 out)" = b ]
	[ "$(cat err)" = "vmbox: the limit of stdout is reached (--stdout): the program was ended" ]
}

@test "limits: the bytes of stderr" {
	vmbox --report r.json --stdout 10 /bin/sh -c 'echo 123456789; echo 123456789012 >&2; sleep 1000'
	[ "$status" -eq 123 ]
	[ "$output" = 123456789 ]
	[ "$stderr" = "1234567890vmbox: the limit of stderr is reached (--stdout): the program was ended" ]
	[ "$(reason r.json)" = "stdout 123 stdout" ]
	vmbox --stdout 0 /bin/true
	[ "$status" -eq 0 ]
}

@test "limits: processes" {
	vmbox --report r.json --pids 4 /bin/sh -c 'sleep 100 & sleep 100 & sleep 100 & echo three; sleep 100 & echo four'
	[ "$status" -ne 0 ]
	[ "$output" = three ]
	[[ $stderr == *"as many processes and threads as it may have (--pids)"* ]]
	[ "$(reason r.json)" = "exited $status pids" ]
	vmbox --pids 4 /bin/sh -c 'for i in 1 2 3 4 5 6 7 8; do (:); done; /bin/true | /bin/true; echo "$i"'
	[ "$status" -eq 0 ]
	[ "$output" = 8 ]
	[ -z "$stderr" ]
}

@test "limits: root of the guest cannot leave its cgroup, nor raise its limits" {
	vmbox --pids 4 --files 20 --file-size 1M /bin/sh -c '
		exec 2>&1
		mkdir /tmp/c && mount -t cgroup2 none /tmp/c
		cat /tmp/c/cgroup.procs | grep -c .
		echo max >/tmp/c/pids.max
		mkdir /tmp/c/own && echo $$ >/tmp/c/own/cgroup.procs
		mount -o remount,rw /tmp/c; echo max >/tmp/c/pids.max
		umount /tmp/c; mount -t cgroup2 -o nsdelegate none /tmp/c; echo max >/tmp/c/pids.max
		nsenter --cgroup=/proc/1/ns/cgroup true && echo "in the cgroups of PID 1"
		ulimit -n 30 || echo no
		ulimit -n
		ulimit -f 5000 || echo no
		ulimit -f
		sleep 100 & sleep 100 & sleep 100 & echo three; sleep 100 & echo four'
	[ "$status" -ne 0 ]
	[[ $output == *three* && $output != *four* && $output != *"PID 1" ]]
	[[ $output == *$'\n20\n'* && $output == *$'\n2048\n'* ]]
}

@test "limits: open files" {
	vmbox --files 20 /bin/sh -c 'ulimit -n; ulimit -Hn; exec 9</dev/null && echo nine; python3 -c "
import os
n = 0
try:
    while True: os.open(\"/dev/null\", os.O_RDONLY); n += 1
except OSError as e: print(e.strerror)
"'
	[ "$status" -eq 0 ]
	[ "$output" = $'20\n20\nnine\nToo many open files' ]
}

@test "limits: the size of a file, in the guest and on the host" {
	mkdir out
	for dir in /tmp "$T/out"; do
		vmbox --report r.json --rw out --file-size 100K /bin/sh -c 'cd "$1"; head -c 102400 /dev/zero >fits && echo fits; exec head -c 102401 /dev/zero >not' - "$dir"
		[ "$status" -eq 153 ]
		[ "$output" = fits ]
		[[ $stderr == *"a file was to become larger than it may be (--file-size)"* ]]
		[ "$(reason r.json)" = "file_size 153 file_size" ]
	done
	[ "$(stat -c %s out/fits)" -eq 102400 ]
	[ "$(stat -c %s out/not)" -le 102400 ]
}

@test "limits: exits that only the driver sees" {
	vmbox --report r.json --exits 2000 --wall 90s "$GUESTS/storm"
	[ "$status" -eq 121 ]
	[ "$output" = begun ]
	[ "$stderr" = "vmbox: the guest leaves guest mode more often than it may (--exits): the program was ended" ]
	[ "$(reason r.json)" = "exits 121 exits" ]
}

@test "limits: the profiles run, within theirs" {
	chmod 755 . # root's run is nobody's where it changes nothing
	echo of the host >file
	for profile in ci build; do
		vmbox --policy $profile /bin/sh -c 'cat file; echo changed >file; ulimit -n; cat file'
		[ "$status" -eq 0 ]
		[ "$output" = $'of the host\n1024\nchanged' ]
		[ -z "$stderr" ]
		[ "$(cat file)" = "$([ $profile = ci ] && echo of the host || echo changed)" ]
	done
}
