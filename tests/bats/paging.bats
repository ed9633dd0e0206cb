#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The paging modes, by bare guests (tests/guests/paging), with the audit of the shadow MMU on.
load helpers

audit=/sys/module/vmbox/parameters/audit

setup_file() {
	[ ! -w $audit ] || echo 40 >$audit
}

teardown_file() {
	[ ! -w $audit ] || echo 0 >$audit
}

image() {
	run timeout 200 "$GUESTS/testvmm" "${device[@]}" "$GUESTS/$1"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *PASSED* ]]
	[[ $output != *"not ok"* ]]
}

@test "paging: off, 32-bit, PAE, and switches between them" { image paging32; }
@test "paging: 64-bit" { image paging64; }

@test "paging: real mode ends the VM with a message" {
	run timeout 60 "$GUESTS/testvmm" "${device[@]}" "$GUESTS/realmode"
	echo "$output"
	[ "$status" -eq 124 ]
	[[ $output == *"ended by exit 17"* ]] # KVM_EXIT_INTERNAL_ERROR
	dmesg | grep -q 'vmbox: .*the guest goes to real mode'
}
