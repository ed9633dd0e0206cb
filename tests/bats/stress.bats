#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# A 64-bit Linux guest under load, with the audit of the shadow MMU on.
# VMBOX_STRESS_SECONDS (20): how long.
load helpers

audit=/sys/module/vmbox/parameters/audit

setup_file() {
	[ ! -w $audit ] || echo 300 >$audit
}

teardown_file() {
	[ ! -w $audit ] || echo 0 >$audit
}

@test "stress: stress-ng's vm, fork and mmap" {
	seconds=${VMBOX_STRESS_SECONDS:-20}
	LIMIT=$((seconds + 100))
	vmbox /usr/bin/stress-ng --vm 1 --vm-bytes 16M --fork 2 --mmap 1 --mmap-bytes 4M \
		--temp-path /tmp --timeout "$seconds"
	[ "$status" -eq 0 ]
	[[ "$output$stderr" == *"successful run completed"* ]]
}

@test "stress: no violation was logged" {
	dmesg | grep -q vmbox:
	run grep -E 'vmbox: VM of pid [0-9]+ ends: [0-9]+:' <(dmesg)
	echo "$output"
	[ "$status" -eq 1 ]
}
