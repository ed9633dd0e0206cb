#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Real programs.
load helpers

@test "programs: /bin/true" {
	vmbox /bin/true
	[ "$status" -eq 0 ]
	[ -z "$output$stderr" ]
}

@test "programs: /bin/false" {
	vmbox /bin/false
	[ "$status" -eq 1 ]
	[ -z "$output$stderr" ]
}

@test "programs: a static musl hello with arguments" {
	vmbox "$GUESTS/hello" one "" "two  three"
	[ "$status" -eq 4 ]
	[ "$output" = "hello from musl [one] [] [two  three]" ]
}

@test "programs: a 32-bit static ELF" {
	vmbox "$GUESTS/hello32"
	[ "$status" -eq 32 ]
	[ "$output" = "hello from 32 bits" ]
}

@test "programs: a #! script" {
	printf '#!/bin/sh -e\necho "$0 $1"\nexit 5\n' >script
	chmod +x script
	vmbox ./script x
	[ "$status" -eq 5 ]
	[[ $output == *"script x" ]]
}

@test "programs: found by PATH" {
	vmbox echo hello
	[ "$status" -eq 0 ]
	[ "$output" = hello ]
}

@test "programs: bash pipelines" {
	vmbox /bin/bash -c 'set -o pipefail; seq 1 1000 | grep 7 | sort -rn | head -n 3 | tr "\n" " "; wc -l < <(seq 5); echo ${PIPESTATUS[*]} "$(echo a | tee >(cat >/dev/null))"'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "997 987 979 5" ]
	[ "${lines[1]}" = "0 a" ]
}

@test "programs: python3 with imports" {
	vmbox /usr/bin/python3 -c 'import json, re, hashlib, subprocess, random, math
print(json.dumps({"pi": round(math.pi, 4), "h": hashlib.sha1(b"x").hexdigest()[:8], "sub": subprocess.check_output(["echo", "hi"]).decode()}))'
	[ "$status" -eq 0 ]
	[ "$output" = '{"pi": 3.1416, "h": "11f6ad8e", "sub": "hi\n"}' ]
}

@test "programs: gcc compiles and runs a C program in /tmp" {
	vmbox /bin/sh -c 'cd /tmp && cat >a.c && gcc -O2 -o a a.c && ./a' <<-END
		#include <stdio.h>
		int main(void) { puts("made in vmbox"); return 6; }
	END
	[ "$status" -eq 6 ]
	[ "$output" = "made in vmbox" ]
}

@test "programs: sha256sum of 64 MiB from stdin" {
	head -c 64M /dev/zero >zeros
	vmbox /usr/bin/sha256sum <zeros
	[ "$status" -eq 0 ]
	[ "$output" = "3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351  -" ]
}

@test "programs: sort a million lines" {
	vmbox --memory 1G /bin/sh -c 'seq 1 1000000 | sort -r | tail -n 2'
	[ "$status" -eq 0 ]
	[ "${lines[*]}" = "10 1" ]
}

@test "programs: git init and commit in /tmp" {
	vmbox /bin/sh -c 'cd /tmp && git init -q r && cd r && echo hi >f && git add f && git -c user.name=n -c user.email=e@x commit -q -m first && git log --format=%s'
	[ "$status" -eq 0 ]
	[ "$output" = first ]
}

@test "programs: 500 processes by fork and exec" {
	LIMIT=400 # nested emulation
	# setarch -R: QEMU keeps a page's translated code for each address that it was ever run at, and
	# drops it one store at a time. With 500 addresses of libc this costs the next test a minute.
	vmbox setarch -R /bin/sh -c 'i=0; while [ $i -lt 500 ]; do /bin/true || exit 1; i=$((i + 1)); done; echo $i'
	[ "$status" -eq 0 ]
	[ "$output" = 500 ]
}

@test "programs: killed by SIGSEGV" {
	vmbox "$GUESTS/crash"
	[ "$status" -eq 139 ]
}

@test "programs: killed by a signal of its own" {
	vmbox /bin/sh -c 'kill -TERM $$'
	[ "$status" -eq 143 ]
}

@test "programs: every exit status" {
	for code in 2 100 255; do
		vmbox /bin/sh -c "exit $code"
		[ "$status" -eq $code ]
	done
}
