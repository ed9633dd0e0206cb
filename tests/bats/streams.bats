#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
load helpers

@test "streams: stdin reaches its end" {
	printf 'a\nb\n' >in
	vmbox /bin/sh -c 'cat; echo end' <in
	[ "$status" -eq 0 ]
	[ "${lines[*]}" = "a b end" ]
}

@test "streams: an empty stdin" {
	vmbox /usr/bin/wc -c </dev/null
	[ "$output" = 0 ]
}

@test "streams: a closed stdin, stdout and stderr" {
	run timeout 60 "${command[@]}" /bin/sh -c 'exit 3' <&- >&- 2>&-
	[ "$status" -eq 3 ]
}

@test "streams: every byte, both ways" {
	/usr/bin/python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)' >in
	timeout 120 "${command[@]}" /bin/cat <in >out
	cmp in out
}

@test "streams: stdout and stderr are separate" {
	timeout 60 "${command[@]}" /bin/sh -c 'for i in 1 2 3; do echo o$i; echo e$i >&2; done' >out 2>err
	[ "$(tr '\n' ' ' <out)" = "o1 o2 o3 " ]
	[ "$(tr '\n' ' ' <err)" = "e1 e2 e3 " ]
}

@test "streams: a full stdout does not hold up stderr" {
	mkfifo full
	"${command[@]}" /bin/sh -c '(head -c 10M /dev/zero; echo) & sleep 1; echo still here >&2; wait' <>/dev/null >full 2>err 3>&- &
	pid=$!
	exec {reader}<full
	eventually grep -q 'still here' err
	[ "$(wc -c <&"$reader")" -eq $((10 * 1048576 + 1)) ]
	wait "$pid"
}

@test "streams: a closed stdout ends the program by SIGPIPE" {
	mkfifo pipe
	"${command[@]}" /bin/bash -c 'yes; echo "yes: $?" >&2; exit 7' >pipe 2>err 3>&- &
	pid=$!
	[ "$(head -n 1 pipe)" = y ]
	finish
	[ "$status" -eq 7 ]
	grep -q 'yes: 141' err
}

@test "streams: a program that does not read its stdin" {
	status=0
	head -c 10M /dev/zero | timeout 60 "${command[@]}" /bin/true || status=$?
	[ "$status" -eq 0 ]
}

@test "streams: an interactive exchange" {
	mkfifo in out
	"${command[@]}" /bin/sh -c 'while read -r x; do echo "got $x"; done' <in >out 3>&- &
	pid=$!
	exec {to}>in {from}<out
	for word in one two three; do
		echo $word >&"$to"
		read -r -t 60 answer <&"$from"
		[ "$answer" = "got $word" ]
	done
	exec {to}>&-
	finish
	[ "$status" -eq 0 ]
}

@test "streams: of stdin only what the program waits for is taken" {
	printf '%s\n' one two three >list
	while read -r word; do
		"${command[@]}" /bin/echo "$word" 3>&-
	done <list >out
	[ "$(cat out)" = "$(cat list)" ]
	(
		"${command[@]}" /bin/sh -c 'sleep 1' 3>&-
		cat
	) <list >out
	cmp out list
}

# kB of resident memory, all of vmbox's processes, without the guest's own RAM (shared or not).
rss() {
	local sum=0 exe kb
	for exe in $(vmbox_processes); do
		kb=$(awk '/^VmRSS/ { print $2 }' "${exe%exe}status" 2>/dev/null)
		sum=$((sum + ${kb:-0}))
	done
	echo $sum
}

@test "streams: ${VMBOX_STREAM_MIB:-64} MiB to a slow reader: nothing lost, nothing grows" {
	size=$((${VMBOX_STREAM_MIB:-64} * 1048576))
	mkfifo pipe
	"${command[@]}" /bin/sh -c "yes 0123456789abcdefghijklmnopqrstu | head -c $size" >pipe 3>&- &
	pid=$!
	exec {from}<pipe
	# Slow: a MiB, then a pause in which the program fills whatever there is to fill.
	head -c 1048576 <&"$from" >first
	sleep 2
	before=$(rss)
	sleep 3
	paused=$(rss)
	(
		cat first
		cat <&"$from"
	) | cmp - <(yes 0123456789abcdefghijklmnopqrstu | head -c $size) &
	reader=$!
	most=$paused
	while kill -0 $reader 2>/dev/null; do
		now=$(rss)
		[ "$now" -le "$most" ] || most=$now
		sleep 1
	done
	wait $reader
	wait "$pid"
	echo "resident: $before kB, paused $paused kB, most $most kB"
	[ $((paused - before)) -lt 1024 ]
	[ $((most - before)) -lt 8192 ]
}
