#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# When each CPU's virtualization is on and off, and other hypervisors (kmod/hardware.c).
# tests/host/kexec has what no test in the lab can outlive.
load helpers

setup_file() {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
}

# Whatever a test left: the driver and nothing else.
teardown() {
	[ -z "${hold-}" ] || { exec {hold}>&-; wait; } 2>/dev/null || true
	rmmod "$KVM" kvm 2>/dev/null || true
	[ -e /dev/vmbox ] || insmod "$DRIVER"
	for cpu in /sys/devices/system/cpu/cpu[0-9]*/online; do
		[ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu"
	done
	cd / && rm -rf "$T"
}

@test "hardware: a hypervisor that was there first" {
	rmmod vmbox
	modprobe "$KVM"
	if [ "$KVM" = kvm_intel ]; then # it has what a crash needs as soon as it is loaded
		run insmod "$DRIVER"
		[ "$status" -ne 0 ]
		dmesg | tail -n 3 | grep -q 'vmbox: the module kvm is loaded: rmmod kvm_intel kvm'
		return
	fi
	insmod "$DRIVER"
	hold /dev/kvm
	vmbox /bin/true
	[ "$status" -eq 125 ]
	[[ ${stderr,,} == *"another hypervisor"* ]]
	dmesg | tail -n 3 | grep -q 'vmbox: CPU [0-9]*: AMD-V is in use by another hypervisor'
	release
	vmbox /bin/true # its last VM has gone
	[ "$status" -eq 0 ]
	hold /dev/vmbox # and the other way round
	run "$GUESTS/holdvm" /dev/kvm </dev/null
	echo "$output"
	[ "$status" -ne 0 ]
	release
}

@test "hardware: a hypervisor that is loaded later is refused" {
	run modprobe "$KVM"
	echo "$output"
	[ "$status" -ne 0 ]
	[ ! -e /dev/kvm ] || ! "$GUESTS/holdvm" /dev/kvm </dev/null
	dmesg | tail -n 3 | grep -q "vmbox: $KVM is refused: vmbox is loaded"
	vmbox /bin/true
	[ "$status" -eq 0 ]
}

@test "hardware: the CPUs are free for others when the driver has gone" {
	vmbox /bin/true
	[ "$status" -eq 0 ]
	rmmod vmbox
	modprobe "$KVM"
	hold /dev/kvm # on a CPU where VMX was still on, this would fail
	release
}

@test "hardware: the module stays while a VM is open" {
	hold /dev/vmbox
	run rmmod vmbox
	echo "$output"
	[ "$status" -ne 0 ]
	[ -e /dev/vmbox ]
	release
	rmmod vmbox
	[ ! -e /dev/vmbox ]
}

@test "hardware: loaded and unloaded, with runs between" {
	for _ in $(seq "${VMBOX_RELOADS:-5}"); do
		rmmod vmbox
		insmod "$DRIVER"
		vmbox /bin/true
		[ "$status" -eq 0 ]
	done
}

# Guests that count, while each CPU but the first goes and comes back.
@test "hardware: CPUs go offline and come back under guests" {
	[ -e /sys/devices/system/cpu/cpu1/online ] || skip "one CPU: scripts/lab intel --cpus 2"
	pids=()
	for i in 1 2 3; do
		"${command[@]}" /bin/sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo $i' \
			</dev/null >"$T/out.$i" 2>"$T/err.$i" 3>&- &
		pids+=($!)
	done
	for _ in $(seq "${VMBOX_HOTPLUGS:-6}"); do
		for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
			echo 0 >"$cpu"
			sleep 0.3
			echo 1 >"$cpu"
			sleep 0.3
		done
	done
	echo 0 >/sys/devices/system/cpu/cpu1/online
	vmbox /bin/true # begins with the CPU offline
	[ "$status" -eq 0 ]
	echo 1 >/sys/devices/system/cpu/cpu1/online
	for i in 1 2 3; do
		wait "${pids[i - 1]}" || { cat "$T/err.$i"; false; }
		[ "$(cat "$T/out.$i")" = 60000 ]
	done
	run taskset -c 1 "${command[@]}" /bin/true
	[ "$status" -eq 0 ]
	! dmesg | grep -E 'vmbox: CPU [0-9]+: cannot turn'
}

@test "hardware: guests that move between CPUs keep what they have, and leave nothing" {
	run timeout 120 "$TREE/build/tests/driver/leaks" migration # leaks.bats, with two CPUs on Intel
	echo "$output"
	[ "$status" -ne 77 ] || skip "one CPU: scripts/lab intel --cpus 2"
	[ "$status" -eq 0 ]
}

# The other CPUs go offline, the driver's callbacks run on the last one, and then all come back.
# The machine does not really sleep: what is shown is that a guest survives off and on.
@test "hardware: a sleep under a guest" {
	[ -w /sys/power/pm_test ] || skip "the kernel has no PM_DEBUG"
	mkfifo "$T/in"
	STDIN="$T/in" start /bin/sh -c 'echo ready; read x; echo "$x again"'
	exec {in}>"$T/in"
	eventually grep -q ready "$T/out"
	echo core >/sys/power/pm_test
	echo disk >/sys/power/state
	echo none >/sys/power/pm_test
	echo awake >&$in
	exec {in}>&-
	finish
	[ "$status" -eq 0 ]
	grep -q 'awake again' "$T/out"
}
