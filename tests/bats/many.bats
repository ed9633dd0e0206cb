#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# VMBOX_MANY (50, and 10 on Intel) sandboxes at once: half started one by one, half by xargs -P; some are killed at
# random, in the boot or later. VMBOX_SEED, which is printed, gives the same choices again.
load helpers

[ "$KVM" = kvm_amd ] || fewer=10 # the one CPU of that lab is slow
n=${VMBOX_MANY:-${fewer:-50}}
small=("${command[@]}" --memory 64M)

# What there is of whatever a run takes; one line each.
inventory() {
	echo "processes $(vmbox_processes | wc -l)"
	echo "mounts $(wc -l </proc/mounts)"
	echo "cgroups $(find /sys/fs/cgroup -type d | wc -l)"
	echo "files $(find /run /dev/shm "$T/out" 2>/dev/null | grep -vE '/out/[0-9]+$' | sort | md5sum)"
	echo "temporary files $(find /tmp /var/tmp -maxdepth 1 -name '*vmbox*' | sort | md5sum)" # others write there, too
	echo "shared memory $(ipcs -a | md5sum)"
	[ -n "${VMBOX_DEVICE-}" ] || echo "users of the driver $(cat /sys/module/vmbox/refcnt)"
	[ ! -d /sys/kernel/debug/vmbox ] || echo "VMs $(find /sys/kernel/debug/vmbox -mindepth 1 | wc -l)"
}

same_inventory() {
	[ "$(inventory)" = "$1" ]
}

# MiB, with nothing in caches that can be had back, and little in the CPUs' lists of free pages,
# which can have a watermark's worth: 50 MiB.
available() {
	echo 100000 >/proc/sys/vm/percpu_pagelist_high_fraction
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo
}

open_files() {
	cut -f 1 /proc/sys/fs/file-nr
}

at_least() { # MiB
	[ "$(available)" -ge "$1" ]
}

few_files() {
	[ "$(open_files)" -le "$1" ]
}

# Run number $1. Its status goes to status.$1, its streams to out.$1 and err.$1.
one() {
	local i=$1 status=0
	case $((i % 5)) in
	0) "${small[@]}" /bin/sh -c "exit $i" ;;
	1) "${small[@]}" --ro data /usr/bin/sha256sum data ;;
	2) echo "of $i" | "${small[@]}" --rw out /bin/sh -c "cat >out/$i; echo written" ;;
	3) "${small[@]}" /bin/sh -c "echo $i; exec >&2; echo $i; kill -SEGV \$\$" ;;
	4) "${small[@]}" --wall 1500ms /bin/sleep 100 ;;
	esac >"out.$i" 2>"err.$i" </dev/null || status=$?
	echo $status >"status.$i"
}

# What run $1 was to give: status, stdout, stderr.
expected() {
	case $(($1 % 5)) in
	0) printf '%s\n' "$1" ;;
	1) printf '0\n%s\n' "$(sha256sum data)" ;;
	2) printf '0\nwritten\n' ;;
	3) printf '139\n%s\n%s\n' "$1" "$1" ;;
	4) printf '124\nvmbox: the time limit is over (--wall): the program was ended\n' ;;
	esac
}

# Run number $1, which does not end; its process id goes to pid.$1.
endless() {
	local what=(/bin/sleep 1000)
	[ $(($1 % 2)) = 0 ] || what=(/bin/sh -c 'while :; do :; done')
	exec env --default-signal=INT sh -c 'echo $$ >pid.'"$1"'; exec "$@"' sh "${small[@]}" "${what[@]}" \
		>"out.$1" 2>"err.$1" </dev/null
}

# Kills process $1, or a child that it has by now, by signal $2. Prints the status to come.
hit() {
	local victim=$1 children
	read -ra children <"/proc/$1/task/$1/children" || true
	# Its first process is the launcher until it has children: they are hit by SIGKILL alone.
	if [ "$2" = child ] && [ ${#children[@]} -gt 0 ]; then
		kill -KILL "${children[RANDOM % ${#children[@]}]}"
		echo 125
	else
		[ "$2" != child ] || set -- "$1" 9
		kill "-$2" "$victim"
		echo $((128 + $2))
	fi
}

@test "many: $n at once, short and long, some killed at random" {
	local seed=${VMBOX_SEED:-$SRANDOM} i status before free files pids=() doomed=() batch signals=(2 9 15 child)
	echo "# VMBOX_SEED=$seed" | tee /dev/fd/3
	RANDOM=$((seed % 32768))
	head -c 300000 /dev/urandom >data
	mkdir out
	export -f one
	export n
	# What the first run makes for good, such as what the kernel has learnt, is no leak.
	available
	one 0
	before=$(inventory) free=$(available) files=$(open_files)

	# The second half, all of it at once.
	declare -p small >vars
	seq $((n / 2 + 1)) "$n" | xargs -P "$n" -I{} bash -c '. ./vars; one {}' &
	batch=$!
	for ((i = 1; i <= n / 2; i++)); do
		if [ $((RANDOM % 2)) = 0 ]; then
			endless "$i" &
			doomed+=("$i")
		else
			one "$i" &
		fi
		pids[i]=$!
	done
	for i in "${doomed[@]}"; do
		sleep "0.$((RANDOM % 4))"
		eventually test -s "pid.$i"
		hit "$(cat "pid.$i")" "${signals[RANDOM % 4]}" >"expected.$i"
	done
	echo "# all have begun" >&3 # a sign of life for scripts/test
	wait $batch
	echo "# the second half has ended" >&3
	for ((i = 1; i <= n / 2; i++)); do
		status=0
		wait "${pids[i]}" || status=$?
		[ -e "status.$i" ] || echo $status >"status.$i"
	done

	for ((i = 1; i <= n; i++)); do
		if [ -e "expected.$i" ]; then # what it wrote is of no interest
			diff "expected.$i" "status.$i"
		else
			diff <(expected "$i") <(cat "status.$i" "out.$i" "err.$i")
			[ $((i % 5)) != 2 ] || [ "$(cat "out/$i")" = "of $i" ]
		fi || { echo "run $i of seed $seed:"; head "status.$i" "out.$i" "err.$i"; return 1; }
	done
	# Namespaces and what they hold are freed by the kernel a little later.
	eventually same_inventory "$before" || diff <(echo "$before") <(inventory)
	echo "available: $free MiB, then $(available)"
	eventually at_least $((free - 16))
	echo "open files: $files, then $(open_files)"
	eventually few_files $((files + 64))
}
