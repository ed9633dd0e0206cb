#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# 32-bit Linux guests under load (tests/linux32/init), with two-level page tables and with PAE,
# and the audit of the shadow MMU on.
load helpers

LINUX32=$TREE/build/tests/linux32
audit=/sys/module/vmbox/parameters/audit

setup_file() {
	[ ! -w $audit ] || echo 300 >$audit
}

teardown_file() {
	[ ! -w $audit ] || echo 0 >$audit
}

# Boots a kernel; its console is shown when the test fails.
boot() { # kernel
	run timeout -k 5 230 "$LINUX32/linux32" "${device[@]}" "$LINUX32/vmlinux-$1" "$LINUX32/initrd"
	echo "status $status"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"linux32: passed"* ]]
	[[ $output != *FAILED* ]]
	[[ $output != *"BUG:"* && $output != *"WARNING:"* && $output != *"Bad page"* ]]
}

@test "linux32: two-level page tables" {
	boot plain
	[[ ${lines[-1]} == *", 32-bit paging" ]]
}

@test "linux32: PAE" {
	boot pae
	[[ ${lines[-1]} == *", PAE paging" ]]
}
