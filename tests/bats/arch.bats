#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# What random guests see on vmbox.ko is what they see on stock KVM: tests/driver/arch.c.
load helpers

ARCH=$TREE/build/tests/driver/arch
SEEDS=${VMBOX_SEED:-"1 2"}
COUNT=${VMBOX_COUNT:-40}

teardown_file() {
	! grep -q ^kvm /proc/modules || rmmod "$KVM" kvm
	[ -e /dev/vmbox ] || insmod "$DRIVER"
}

guests() { # OPTION…
	local seed
	for seed in $SEEDS; do
		echo "seed $seed"
		timeout 300 "$ARCH" --seed "$seed" --count "$COUNT" "$@"
	done
}

# Seed and number of the guests that differ. One that goes where no memory is ends there in vmbox.ko,
# but stock KVM emulates the instruction, and may find a fault first.
differing() {
	awk '/^seed/ { seed = $2 }
		NR == FNR { line[FNR] = $0; next }
		line[FNR] != $0 && line[FNR] " " $0 !~ / outside / { print seed, $1 }' vmbox kvm
}

# What is to be seen of the first three that differ.
see() { # FILE OPTION…
	local seed number
	head -n 3 differing | while read -r seed number; do
		"$ARCH" --seed "$seed" --from "$number" --verbose "${@:2}" >"$1.$seed.$number"
	done
}

explain() {
	local seed number
	head -n 3 differing | while read -r seed number; do
		echo "== seed $seed, guest $number: instead of what stock KVM shows (-) vmbox does (+):"
		grep code "vmbox.$seed.$number"
		diff -U 6 "kvm.$seed.$number" "vmbox.$seed.$number" | head -n 60
	done
}

same_with() { # parameter of stock KVM, OPTION…
	[ "$KVM" = kvm_amd ] || skip "the lab with VT-x has no test yet"
	guests "${@:2}" >vmbox
	rmmod vmbox
	modprobe "$KVM" "$1" nested=0
	guests --device /dev/kvm "${@:2}" >kvm
	differing >differing
	see kvm --device /dev/kvm "${@:2}"
	rmmod "$KVM" kvm
	insmod "$DRIVER"
	see vmbox "${@:2}"
	explain
	[ "$(wc -l <vmbox)" = "$(wc -l <kvm)" ]
	[ ! -s differing ]
	# The others are compared to their end.
	[ "$(grep -cE ' (end|limit|shutdown) ' vmbox)" -ge $((COUNT * $(wc -w <<<"$SEEDS") * 9 / 10)) ]
}

@test "arch: guests see what they see on stock KVM with shadow paging" { same_with npt=0; }
@test "arch: guests see what they see on stock KVM with nested paging" { same_with npt=1 --hardware-walks; }
