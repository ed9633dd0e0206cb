#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# vmbox selftest: what it reports, and its exit status. Of its tests only the first run is whole.
load helpers

selftest() {
	run --separate-stderr timeout -k 5 "${LIMIT:-120}" "$VMBOX" selftest "${device[@]}" "$@"
	show
}

# Test programs of our own in ./tests: driver_test lists `one` and does $1; testvmm does $2, or
# what the driver should.
tests_of_ours() {
	mkdir tests
	printf '#!/bin/sh\n[ $# -gt 0 ] || { echo one; exit; }\n%s\n' "$1" >tests/driver_test
	printf '#!/bin/sh\n%s\n' "${2-case \$3 in *realmode) echo 'exit 17 '; exit 125 ;; esac}" >tests/testvmm
	chmod +x tests/*
	touch tests/paging.elf tests/realmode
}

@test "selftest: all is well with the driver" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	local audit=/sys/module/vmbox/parameters/audit before names fact
	before=$(<$audit)
	names=$("$TREE/build/tests/driver/driver_test" | wc -l)
	LIMIT=400 selftest
	[ "$status" -eq 0 ]
	[ "$(grep -c '^FAILED' <<<"$output")" -eq 0 ]
	[ "$(grep -cE '^(ok|skipped) ' <<<"$output")" -eq $((names + 8)) ]
	grep -q '^ok       registers_and_port_out ' <<<"$output"
	grep -q '^ok       access ' <<<"$output"
	grep -q '^ok       realmode ' <<<"$output"
	for fact in CPU 'back end' hypervisor kernel "driver      vmbox.ko .*$(</sys/module/vmbox/srcversion)" \
		"SMT  .*allow_smt is N" 'CPU bugs' "mitigations $(</sys/module/vmbox/parameters/mitigations)" 'audit       on' seed; do
		grep -q "^$fact" <<<"$output"
	done
	[[ ${lines[-1]} =~ ^[0-9]+' ok, 0 failed, '[0-9]+' skipped' ]]
	[ "$(<$audit)" = "$before" ]
}

@test "selftest: a test that fails, with what it said, made printable" {
	tests_of_ours 'seq 100; printf "it \033[1mfailed\n" >&2; exit 1'
	selftest --tests tests
	[ "$status" -eq 1 ]
	[[ $output == *"FAILED   one: exit status 1"*"| 100"*"| it ?[1mfailed"* ]]
	[[ $output != *"| 80"* ]]
	[[ $output == *"8 ok, 1 failed, 0 skipped"* ]]
	selftest --tests tests --verbose
	[ "$status" -eq 1 ]
	[[ $output == *"| 1"*"| 80"* ]]
}

@test "selftest: guests that fail, and a driver that runs real mode" {
	tests_of_ours 'kill -9 $$' 'exit 0'
	selftest --tests tests
	[ "$status" -eq 1 ]
	[[ $output == *"FAILED   one: killed by signal 9"* ]]
	[[ $output == *"ok       access"* ]]
	[[ $output == *"FAILED   realmode: exit status 0"* ]]
	rm -r tests
	tests_of_ours 'exit 0' 'exit 125'
	selftest --tests tests
	[ "$status" -eq 1 ]
	[[ $output == *"1 ok, 8 failed, 0 skipped"* ]]
}

@test "selftest: a test that is skipped is not ok" {
	tests_of_ours 'echo why; echo "it needs a lion"; exit 77'
	selftest --tests tests
	[ "$status" -eq 0 ]
	[[ $output == *"skipped  one: it needs a lion"*"8 ok, 0 failed, 1 skipped"* ]]
}

@test "selftest: as an ordinary user who may use the device" {
	tests_of_ours 'exec "${0%/*}/real" "$@"'
	cp "$TREE/build/tests/driver/driver_test" tests/real
	sed -i 's/echo one/echo merged_pages; echo registers_and_port_out/' tests/driver_test
	cp "$GUESTS/testvmm" tests/vmm && cp "$GUESTS/realmode" tests/
	printf '#!/bin/sh\ncase $3 in *realmode) exec "${0%%/*}/vmm" "$@" ;; esac\n' >tests/testvmm
	cp "$VMBOX" vmbox && chmod 755 "$T" && chmod 666 /dev/vmbox
	run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups ./vmbox selftest --tests tests
	chmod 600 /dev/vmbox
	show
	[ "$status" -eq 0 ]
	[[ $output == *"audit       skipped: needs root"* ]]
	[[ $output == *"skipped  merged_pages: needs root"*"ok       registers_and_port_out"* ]]
	[[ $output == *"ok       realmode"*"9 ok, 0 failed, 1 skipped"* ]]
}

@test "selftest: a signal ends the test and the report" {
	tests_of_ours 'echo $$ >pid; sleep 1000'
	"$VMBOX" selftest "${device[@]}" --tests tests >out 2>err 3>&- &
	pid=$!
	eventually test -s pid
	kill -TERM $pid
	finish
	[ "$status" -eq 143 ]
	grep -q 'Stopped by signal 15' out
	[ ! -e "/proc/$(<pid)" ] || grep -q '^State:.*Z' "/proc/$(<pid)/status"
}

@test "selftest: no device, no tests, bad options" {
	run --separate-stderr "$VMBOX" selftest --device /nonexistent/vmbox
	show
	[ "$status" -eq 125 ]
	[[ $stderr == *"/nonexistent/vmbox"*"load the driver"* ]]
	selftest --tests /nonexistent
	[ "$status" -eq 125 ]
	[[ $stderr == *"/nonexistent/driver_test"*"--tests DIR"* ]]
	selftest --seed x
	[ "$status" -eq 125 ]
	[[ $stderr == *"--seed x"* ]]
	selftest everything
	[ "$status" -eq 125 ]
	tests_of_ours 'exit 0'
	echo 'exit 1' >tests/driver_test
	selftest --tests tests
	[ "$status" -eq 125 ]
	[[ $stderr == *"tests/driver_test"*"list"* ]]
}
