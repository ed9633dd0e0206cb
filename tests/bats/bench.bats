#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The benchmarks run and give figures; not which.
load helpers

BENCH=$TREE/build/tests/bench/bench

# One round, of at least 100,000 ticks.
sane() {
	LIMIT=200 vmbox "$BENCH" "$1" quick </dev/null
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = ready ]
	[[ ${lines[1]} =~ ^ticks\ [0-9]{6,}$ ]]
}

@test "bench: fork" { sane fork; }
@test "bench: switch" { sane switch; }
@test "bench: mmap" { sane mmap; }
@test "bench: fault" { sane fault; }
@test "bench: cow" { sane cow; }
@test "bench: build" { sane build; }

@test "bench: measured with the hypervisor's counters" {
	run timeout 200 "$TREE/tests/bench/measure" mmu "${VMBOX_DEVICE:-/dev/vmbox}" switch
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output =~ switch\ ticks\ [1-9] ]]
	[[ $output =~ switch\ counter.exits ]]
}

@test "bench: files of the host" {
	local where
	for where in native "${VMBOX_DEVICE:-/dev/vmbox}"; do
		run timeout 200 unshare -m "$TREE/tests/bench/measure" fs "$where" create
		echo "$output"
		[ "$status" -eq 0 ]
		[[ $output =~ create\ ticks\ [1-9] ]]
	done
	[[ $output =~ create\ counter.exits ]]
}

@test "bench: exits, VMs and their memory" {
	local device=${VMBOX_DEVICE:-/dev/vmbox} name
	run timeout 200 "$TREE/tests/bench/measure" driver "$device" port-kernel cpuid open
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output =~ cpuid\ ticks\ [1-9] ]]
	[[ $output =~ cpuid\ counter.exits[_a-z]*\ 1[0-9]{3} ]]
	[[ $output =~ open\ counter.charged\ [0-9]{5} ]]
	[ "$device" = /dev/kvm ] || [[ $output != *port-kernel* ]]
	for name in rdmsr wrmsr cr3 page-fault reflect port-out port-in hlt hlt-wake window vcpu life life-first touch; do
		run timeout 100 "$TREE/build/tests/bench/exits" "$device" $name quick </dev/null
		echo "$name: $output"
		[ "$status" -eq 0 ]
		[[ ${lines[1]} =~ ^ticks\ [0-9]+$ ]]
	done
}

@test "bench: a name that there is not" {
	run ! "$TREE/scripts/bench" mmu nonesuch
	[[ $output == *"no benchmark 'nonesuch'"* ]]
}
