#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The driver through its ioctls: one Bats test for each test of driver_test.

driver_test=$BATS_TEST_DIRNAME/../../build/tests/driver/driver_test

# The audit of the shadow MMU is on; these VMs are small.
audit=/sys/module/vmbox/parameters/audit

setup_file() {
	[ ! -w $audit ] || echo 1 >$audit
	grep -q ^/ /proc/swaps || # for swapped_pages
		{ modprobe zram && echo 64M >/sys/block/zram0/disksize && mkswap -q /dev/zram0 &&
			swapon /dev/zram0; } || true
}

teardown_file() {
	[ ! -w $audit ] || echo 0 >$audit
}

one() {
	run timeout 120 "$driver_test" "$1"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "driver: every test of driver_test is named here" {
	for name in $("$driver_test"); do
		grep -q "one $name;" "$BATS_TEST_FILENAME"
	done
}

@test "driver: unknown ioctls are refused" { one unknown_ioctls_are_refused; }
@test "driver: bad arguments are refused" { one bad_arguments_are_refused; }
@test "driver: registers and port out" { one registers_and_port_out; }
@test "driver: port in" { one port_in; }
@test "driver: cpuid is an allow list" { one cpuid_is_an_allow_list; }
@test "driver: unlisted msrs fault" { one unlisted_msrs_fault; }
@test "driver: all other msrs exit" { one all_other_msrs_exit; }
@test "driver: ports exit" { one ports_exit; }
@test "driver: listed msrs work" { one listed_msrs_work; }
@test "driver: msrs of intel" { one msrs_of_intel; }
@test "driver: control registers are checked" { one control_registers_are_checked; }
@test "driver: pdptes are loaded when they should" { one pdptes_are_loaded_when_they_should; }
@test "driver: virtualization is not nested" { one virtualization_is_not_nested; }
@test "driver: page faults reach the guest" { one page_faults_reach_the_guest; }
@test "driver: injected faults have rf" { one injected_faults_have_rf; }
@test "driver: bit 8 of level 3 is ignored" { one bit_8_of_level_3_is_ignored; }
@test "driver: accessed and dirty bits" { one accessed_and_dirty_bits; }
@test "driver: guest flushes are obeyed" { one guest_flushes_are_obeyed; }
@test "driver: the cache outlives flushes" { one the_cache_outlives_flushes; }
@test "driver: unbacked memory exits with its address" { one unbacked_memory_exits_with_its_address; }
@test "driver: page tables outside memory exit" { one page_tables_outside_memory_exit; }
@test "driver: memory follows the host" { one memory_follows_the_host; }
@test "driver: a deleted slot is gone" { one a_deleted_slot_is_gone; }
@test "driver: the dirty log is exact" { one dirty_log_is_exact; }
@test "driver: read-only memory" { one read_only_memory; }
@test "driver: slots move" { one slots_move; }
@test "driver: memory beyond four levels" { one memory_beyond_four_levels; }
@test "driver: fork of the process" { one fork_of_the_process; }
@test "driver: merged pages" { one merged_pages; }
@test "driver: swapped pages" { one swapped_pages; }
@test "driver: swapped page tables" { one swapped_page_tables; }
@test "driver: memory pressure takes shadow pages" { one memory_pressure_takes_shadow_pages; }
@test "driver: large pages" { one large_pages; }
@test "driver: memory churns under the guest" { one memory_churns_under_the_guest; }
@test "driver: run goes on after an error" { one run_goes_on_after_an_error; }
@test "driver: statistics" { one statistics; }
@test "driver: a signal ends run" { one a_signal_ends_run; }
@test "driver: interrupts" { one interrupts; }
@test "driver: interrupt window" { one interrupt_window; }
@test "driver: a fault takes an interrupt's place" { one a_fault_takes_an_interrupts_place; }
@test "driver: guest state survives exits" { one guest_state_survives_exits; }
@test "driver: host state survives runs" { one host_state_survives_runs; }
@test "driver: host state is hidden" { one host_state_is_hidden; }
@test "driver: single step over an emulated instruction" { one single_step_over_an_emulated_instruction; }
@test "driver: single step over sti" { one single_step_over_sti; }
@test "driver: breakpoints" { one breakpoints; }
@test "driver: icebp" { one icebp; }
@test "driver: mov ss blocks interrupts" { one mov_ss_blocks_interrupts; }
@test "driver: a breakpoint pending after mov ss" { one a_breakpoint_pending_after_mov_ss; }
@test "driver: the tsc is the guest's own" { one the_tsc_is_the_guests_own; }
@test "driver: cr8" { one cr8; }
@test "driver: string io ends the vm" { one string_io_ends_the_vm; }
@test "driver: a prefix is no string io" { one a_prefix_is_no_string_io; }
@test "driver: triple fault ends the vm" { one triple_fault_ends_the_vm; }
@test "driver: faults in delivery end in shutdown" { one faults_in_delivery_end_in_shutdown; }
@test "driver: failed entries end the vm" { one failed_entries_end_the_vm; }
@test "driver: a failed entry is explained in the log" {
	grep -qw vmx /proc/cpuinfo || skip "AMD-V has one reason for all"
	one failed_entries_end_the_vm
	for why in "TR's access rights" "CS has both L and D" "CS's DPL" "a data segment" \
		"LDTR's access rights" "RIP"; do
		dmesg | tail -n 12 | grep "vmbox: VM of pid .*: its entry failed (0x80000021): $why"
	done
}
@test "driver: another process cannot use a vm" { one another_process_cannot_use_a_vm; }
@test "driver: kill during run" { one kill_during_run; }
@test "driver: random guests" { one random_guests; }
