#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What a guest kernel gets of paging in each mode: tests/guests/paging, run by testvmm,
# with the audit of the shadow MMU on.
# VMBOX_KINDS (2): how many of the 12 kinds of access each combination of bits gets.
# VMBOX_DEVICE=/dev/kvm (with npt=1): the same, with the allowances that boot.c and testvmm name.

load helpers

audit=/sys/module/vmbox/parameters/audit

setup_file() {
	[ ! -w $audit ] || echo 40 >$audit
}

teardown_file() {
	[ ! -w $audit ] || echo 0 >$audit
}

guest() {
	local flags=() words=()
	if [ "${VMBOX_DEVICE-}" = /dev/kvm ]; then
		flags=(--superset)
		words=(qemu)
	fi
	run timeout -k 5 "${LIMIT:-120}" "$GUESTS/testvmm" "${device[@]}" "${flags[@]}" \
		"$GUESTS/paging.elf" "$@" "${words[@]}"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output != *"not ok"* ]]
}

# Each of the names must have its "ok" line, in each of the three modes with paging.
in_all_modes() {
	local mode name
	for mode in 32 pae long; do
		for name in "$@"; do
			grep -qx "ok $mode $name" <<<"$output"
		done
	done
}

@test "paging: what a TLB may not keep" {
	guest tlb
	in_all_modes not_present_to_present flushes_show_changes global_pages large_page \
		upper_entry table_reused two_roots
}

@test "paging: tables that are code, stack, operand or IDT" {
	guest livelock
	in_all_modes code_in_table stack_in_table push_entry idt_in_table unaligned atomics \
		invlpg_of_itself movs_tables
}

@test "paging: recursive maps" {
	guest selfmap
	in_all_modes selfmap_edits selfmap_upper_edits selfmap_own_entry
}

@test "paging: access rights, every bit of every level, and samples of all together" {
	LIMIT=400 guest access cases=3000 "kinds=${VMBOX_KINDS:-2}" seed=$RANDOM
	in_all_modes access
}

@test "paging: changes of mode and control bits" {
	guest modes
	in_all_modes bits refusals
	grep -qx "ok pae pdptes" <<<"$output"
}

@test "paging: the dirty log under load" {
	guest dirty
	in_all_modes dirty
}

@test "paging: host events, read-only memory, holes" {
	local ksm=/sys/kernel/mm/ksm/run
	[ ! -w $ksm ] || echo 1 >$ksm
	guest host
	[ ! -w $ksm ] || echo 0 >$ksm
	in_all_modes slots events
}

@test "paging: real mode ends the VM with a message" {
	[ "${VMBOX_DEVICE-}" != /dev/kvm ] || skip "stock KVM emulates real mode"
	run timeout 60 "$GUESTS/testvmm" "${device[@]}" "$GUESTS/realmode"
	echo "$output"
	[ "$status" -eq 125 ]
	[[ $output == *"exit 17 "* ]] # KVM_EXIT_INTERNAL_ERROR
	dmesg | grep -q 'vmbox: .*the guest goes to real mode'
}
