#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# vmbox doctor in real states of the machine; the others are tests/unit/test_checks.c's.
load helpers

doctor() {
	run --separate-stderr "$VMBOX" doctor --guest-dir "$GUEST" "$@"
	show
}

# As a user who is in no group but, in this process, the given ones.
doctor_as() { # uid gids
	cp "$VMBOX" vmbox && chmod 755 "$T"
	run --separate-stderr setpriv --reuid "$1" --regid "$1" --groups "$2" ./vmbox doctor --guest-dir "$GUEST"
	show
}

setup_file() {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
}

# Whatever a test left: the driver, root's alone, and nothing else.
teardown() {
	[ -z "${hold-}" ] || { exec {hold}>&-; wait; } 2>/dev/null || true
	rmmod "$KVM" kvm 2>/dev/null || true
	rm -rf /lib/modules/6.1.0-other
	[ -d /sys/module/vmbox ] || insmod "$DRIVER"
	chgrp 0 /dev/vmbox && chmod 600 /dev/vmbox
	userdel ann 2>/dev/null || true
	groupdel vmbox 2>/dev/null || true
	sysctl -q user.max_user_namespaces=10000
	cd / && rm -rf "$T"
}

@test "doctor: all is well" {
	doctor
	[ "$status" -eq 0 ]
	[[ $output == *"This machine can run vmbox."* && $output != *problem* ]]
	[[ $output == *"ok       driver: vmbox.ko $(</sys/module/vmbox/version) is loaded"* ]]
	doctor --json
	[ "$status" -eq 0 ]
	[[ $output == *'"can_run": true, '* && $output != *'"problem"'* ]]
}

@test "doctor: no driver, or one of another kernel" {
	rmmod vmbox
	doctor --json
	[ "$status" -eq 1 ]
	[[ $output == *'"can_run": false, '*'"check": "driver", "result": "problem"'*'"do": "install it: '* ]]
	[ "$(grep -c '"problem"' <<<"$output")" -eq 2 ]
	vmbox /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *"there is no such device"*"vmbox doctor"* ]]
	mkdir -p /lib/modules/6.1.0-other/updates && cp "$DRIVER" /lib/modules/6.1.0-other/updates/
	depmod 6.1.0-other
	doctor
	[ "$status" -eq 1 ]
	[[ $output == *"problem  driver: vmbox.ko is there for kernel 6.1.0-other, but $(uname -r) runs"* ]]
	insmod "$DRIVER"
	doctor
	[ "$status" -eq 0 ]
}

@test "doctor: another hypervisor has the processor" {
	rmmod vmbox
	modprobe "$KVM"
	hold /dev/kvm
	[ "$KVM" = kvm_intel ] || insmod "$DRIVER" # which is refused there
	doctor
	[ "$status" -eq 1 ]
	[[ $output == *"problem  hypervisors: loaded: $KVM, and "*"modprobe -r $KVM"* ]]
	release
	rmmod "$KVM" kvm
	[ -d /sys/module/vmbox ] || insmod "$DRIVER"
	doctor
	[ "$status" -eq 0 ]
}

@test "doctor: no permission, then a group that this login has not" {
	groupadd -f vmbox && useradd -M -u 4321 ann
	doctor_as 4321 4321
	[ "$status" -eq 1 ]
	[[ $output == *"problem  device: ann may not open /dev/vmbox"*"udevadm trigger"* ]]
	chgrp vmbox /dev/vmbox && chmod 660 /dev/vmbox # as the udev rule does
	doctor_as 4321 4321
	[ "$status" -eq 1 ]
	[[ $output == *"usermod -aG vmbox ann"* ]]
	usermod -aG vmbox ann
	doctor_as 4321 4321
	[ "$status" -eq 1 ]
	[[ $output == *"ann is in the group vmbox now"*"log out"* ]]
	doctor_as 4321 "4321,$(getent group vmbox | cut -d: -f3)"
	[ "$status" -eq 0 ]
}

@test "doctor: no namespaces" {
	sysctl -q user.max_user_namespaces=0
	doctor
	[ "$status" -eq 0 ]
	[[ $output == *"warning  namespaces: root gets no user namespace"*"max_user_namespaces"* ]]
	chmod 666 /dev/vmbox
	doctor_as 65534 65534
	[ "$status" -eq 0 ]
	[[ $output == *"warning  namespaces: nobody gets no user namespace"*"max_user_namespaces"* ]]
}

@test "doctor: no guest, bad options" {
	doctor --guest-dir /nonexistent
	[ "$status" -eq 1 ]
	[[ $output == *"problem  guest: "*"/nonexistent"*"vmbox-guest"* ]]
	doctor --all
	[ "$status" -eq 125 ]
	[[ $stderr == *"--all"* ]]
	doctor everything
	[ "$status" -eq 125 ]
}
