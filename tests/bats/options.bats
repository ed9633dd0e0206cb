#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
load helpers

@test "options: --timeout ends a program that never ends" {
	began=$SECONDS
	vmbox --timeout 3s /bin/sh -c 'while :; do :; done'
	[ "$status" -eq 124 ]
	[ $((SECONDS - began)) -lt 30 ]
	[[ ${stderr,,} == *timeout* || ${stderr,,} == *"timed out"* || ${stderr,,} == *"time"* ]]
}

@test "options: --timeout ends a program that sleeps" {
	vmbox --report r.json --timeout 3 /bin/sleep 1000
	[ "$status" -eq 124 ]
	[ "$(reason r.json)" = "wall 124 wall" ]
}

@test "options: --timeout leaves a faster program alone" {
	vmbox --timeout 60s /bin/sh -c 'exit 9'
	[ "$status" -eq 9 ]
	[ -z "$stderr" ]
}

@test "options: --env NAME=VALUE and NAME" {
	export FROM_HOST="a b" NOT_GIVEN=secret
	vmbox --env "GIVEN=x=y z" --env FROM_HOST /usr/bin/env
	[ "$status" -eq 0 ]
	[[ $'\n'$output$'\n' == *$'\nGIVEN=x=y z\n'* ]]
	[[ $'\n'$output$'\n' == *$'\nFROM_HOST=a b\n'* ]]
	[[ $output != *NOT_GIVEN* ]]
	[[ $'\n'$output$'\n' == *$'\nHOME=/home\n'* ]]
	[[ $output == *PATH=* ]]
}

@test "options: the working directory is the host's by default" {
	vmbox /bin/sh -c 'pwd; echo x >here && cat here'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "$T" ]
	[ "${lines[1]}" = x ]
	[ ! -e here ]
}

@test "options: --cwd" {
	vmbox --cwd /tmp /bin/pwd
	[ "$status" -eq 0 ]
	[ "$output" = /tmp ]
}

@test "options: --memory" {
	vmbox --memory 300M /bin/sh -c 'grep MemTotal /proc/meminfo | tr -dc 0-9'
	[ "$status" -eq 0 ]
	[ "$output" -gt 250000 ]
	[ "$output" -le 307200 ]
}

@test "options: --verbose shows the guest's console and the boot's timing" {
	vmbox --verbose /bin/echo hi
	[ "$status" -eq 0 ]
	[ "$output" = hi ]
	[[ $stderr == *"Linux version"* ]]
	[[ $stderr == *" ms"* || $stderr == *" s"* ]]
}

@test "options: without --verbose nothing but the program's bytes" {
	vmbox /bin/sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$stderr" = err ]
}

@test "options: -- ends the options" {
	vmbox -- /bin/echo --memory
	[ "$status" -eq 0 ]
	[ "$output" = --memory ]
}
