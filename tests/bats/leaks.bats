#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What leaks between host, guest and guest: one Bats test for each test of tests/driver/leaks.

leaks=$BATS_TEST_DIRNAME/../../build/tests/driver/leaks

setup_file() {
	modprobe -q msr || true # the Intel lab's kernel has it in it
	[ -e /dev/cpu/0/msr ]
}

one() {
	run timeout 120 "$leaks" "$1"
	echo "$output"
	[ "$status" -ne 77 ] || skip "${output##*$'\n'}"
	[ "$status" -eq 0 ]
}

@test "leaks: every test of leaks is named here" {
	for name in $("$leaks"); do
		grep -q "one $name;" "$BATS_TEST_FILENAME"
	done
}

@test "leaks: each exit" { one each_exit; }
@test "leaks: two VMs in turn" { one two_vms_in_turn; }
@test "leaks: signals" { one signals; }
@test "leaks: context switches" { one context_switches; }
@test "leaks: migration" { one migration; }
@test "leaks: the end of a VM" { one the_end_of_a_vm; }
@test "leaks: segments" { one segments; }
@test "leaks: rights" { one rights; }
@test "leaks: breakpoints" { one breakpoints; }
@test "leaks: what is not the guest's" { one what_is_not_the_guests; }
