#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# The cages of vmbox's own processes: who they are, what they have, and what they can do when
# the guest has taken them over. tests/unit/test_cage.c tries more, without a VM.
load helpers

USER_ID=1000

# Everything that an ordinary user needs, where that user can read it.
give_to_user() {
	chmod 755 "$T"
	mkdir -m 755 "$T/guest"
	cp "$VMBOX" "$T/vmbox"
	cp "$GUEST"/{vmlinux,initrd} "$T/guest/"
	VMBOX=$T/vmbox
	command=(setpriv --reuid "$USER_ID" --regid "$USER_ID" --groups "$1" "$VMBOX" run --guest-dir "$T/guest" "${device[@]}")
}

# The device as the udev rule has it; the group's number.
apply_rule() {
	local group mode
	eval "$(sed -nE 's/^KERNEL=="vmbox".* GROUP="([a-z]+)", MODE="([0-7]+)"$/group=\1 mode=\2/p' "$TREE/kmod/60-vmbox.rules")"
	grep -q "^g $group " "$TREE/kmod/sysusers.conf"
	getent group "$group" >/dev/null || groupadd --system "$group"
	chgrp "$group" /dev/vmbox
	chmod "$mode" /dev/vmbox
	getent group "$group" | cut -d: -f3
}

restore() {
	chgrp root /dev/vmbox
	chmod 600 /dev/vmbox
	sysctl -q -w user.max_user_namespaces=10000
}

teardown_file() {
	restore
}

is_vmm() { # pid
	find "/proc/$1/fd" -lname 'anon_inode:*vcpu*' | grep -q .
}

# Sets launcher, vmm, server: the processes of the run that was started, all in their cages.
processes() {
	local exe p
	launcher='' vmm='' server=''
	eventually grep -q ready "$T/out"
	for exe in $(vmbox_processes); do
		p=$(cut -d/ -f3 <<<"$exe")
		if is_vmm "$p"; then
			vmm=$p
		elif grep -q $'NSpid:.*\t1$' "/proc/$p/status"; then
			server=$p
		else
			launcher=$p
		fi
	done
	echo "launcher $launcher, VMM $vmm, file server $server"
	[ -n "$launcher" ] && [ -n "$vmm" ] && [ -n "$server" ]
}

begin() {
	start "$@" /bin/sh -c 'echo ready; sleep 100'
	processes
}

end() {
	kill "$launcher"
	finish
	[ "$status" -eq 143 ]
}

# What the process's threads have, all together: how many capabilities, ways to get some and holes
# in filters; whose they are.
rights() { # pid
	awk '/^Cap/ { bad += $2 != "0000000000000000" }
		/^NoNewPrivs:/ { bad += $2 != 1 }
		/^Seccomp:/ { bad += $2 != 2 }
		/^[UG]id:/ { for (i = 2; i <= 5; i++) if (!seen[$1 $i]++) ids = ids " " $1 $i }
		END { print bad + 0 ids }' "/proc/$1/task"/*/status
}

has_limit() { # pid, name, both values
	grep -qE "^$2 +$3 +$3 " "/proc/$1/limits"
}

descriptors() { # pid: what they are
	find "/proc/$1/fd" -type l -printf '%f %l\n' | sort -n
}

# The process shares none of these namespaces with us.
own_spaces() { # pid, space…
	local p=$1 ns
	shift
	for ns; do
		[ ! "/proc/$p/ns/$ns" -ef "/proc/self/ns/$ns" ]
	done
}

has_empty_root() { # pid
	[ "$(wc -l <"/proc/$1/mountinfo")" -eq 1 ]
	grep -q ' / / ro,nosuid,nodev,noexec.* - tmpfs ' "/proc/$1/mountinfo"
	[ -z "$(ls -A "/proc/$1/root/")" ]
	[ "/proc/$1/cwd" -ef "/proc/$1/root" ]
}

@test "confine: each process has only its own namespaces, root, limits and rights" {
	begin
	for p in "$launcher" "$vmm" "$server"; do
		own_spaces "$p" user mnt net ipc uts
		has_empty_root "$p"
		has_limit "$p" 'Max processes' 0
		has_limit "$p" 'Max core file size' 0
		[ "$(stat -c %u "/proc/$p/environ")" -eq 0 ] # not dumpable: its files in /proc are root's
		# In a directory of root's, and by no rule to change it.
		[ "$(rights "$p")" = "0 Uid:65534 Gid:65534" ]
		grep -qE '^Groups:\s*$' "/proc/$p/status"
	done
	# Neither sees a process but itself.
	own_spaces "$vmm" pid
	own_spaces "$server" pid
	[ ! "/proc/$vmm/ns/pid" -ef "/proc/$server/ns/pid" ]
	[ ! "/proc/$vmm/ns/mnt" -ef "/proc/$server/ns/mnt" ]
	has_limit "$vmm" 'Max open files' 1
	end
}

@test "confine: each process has only its own descriptors" {
	exec {stray}<"$TREE/README.md"
	begin
	exec {stray}<&-
	descriptors "$launcher"
	[ "$(descriptors "$launcher" | wc -l)" -eq 4 ] # stderr, the signals, the result, the counters
	descriptors "$vmm"
	[ "$(descriptors "$vmm" | grep -vcE '^[012] ')" -eq 6 ] # VM, vCPU, timer, the server's two sessions, result
	descriptors "$server"
	[ "$(descriptors "$server" | grep -c socket)" -eq 2 ] # its sessions
	[ -z "$(descriptors "$server" | grep -E 'README|vmbox$|pipe:|anon_inode' | grep -v '^2 ')" ]
	end
	begin --overlay . --on-exit commit # the gate is one more, of two of them
	[ "$(descriptors "$launcher" | wc -l)" -eq 5 ]
	[ "$(descriptors "$vmm" | grep -vcE '^[012] ')" -eq 6 ]
	[ "$(descriptors "$server" | grep -c ' pipe:')" -eq 1 ]
	end
}

@test "confine: what the server has open is under mounts of its own, read-only" {
	begin
	# Of no mount of the host's: 0 to 2 and the socket apart.
	[ "$(find "/proc/$server/fd" -lname '/*' | wc -l)" -gt 5 ]
	awk '{ print "mnt_id:\t" $1 }' /proc/self/mountinfo >mounts
	[ -z "$(cd "/proc/$server/fdinfo" && ls | grep -vE '^[012]$' | xargs grep -Fxf "$T/mounts")" ]
	end
}

@test "confine: root's run is the owner's in a directory of somebody's" {
	mkdir theirs
	chown 1234 theirs
	cd theirs || return
	begin
	for p in "$launcher" "$vmm" "$server"; do
		[ "$(rights "$p")" = "0 Uid:1234 Gid:65534" ] # who is nobody by name
	done
	end
}

@test "confine: an ordinary user of the device's group can run" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	give_to_user "$(apply_rule)"
	install -d -m 700 -o $USER_ID "$T/own"
	install -m 700 -o $USER_ID /bin/echo "$T/own/echo"
	cd "$T/own" || return
	vmbox --require-confinement ./echo hello
	restore
	[ "$status" -eq 0 ]
	[ "$output" = hello ]
	[ -z "$stderr" ]
}

@test "confine: an ordinary user's run has what root's has" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	give_to_user "$(apply_rule)"
	begin
	for p in "$launcher" "$vmm" "$server"; do
		[ "$(rights "$p")" = "0 Uid:$USER_ID Gid:$USER_ID" ]
		has_empty_root "$p"
		own_spaces "$p" user mnt net ipc uts
	done
	setpriv --reuid $USER_ID --regid $USER_ID --clear-groups kill "$launcher"
	restore
	finish
	[ "$status" -eq 143 ]
}

@test "confine: an ordinary user outside of the group cannot run" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	apply_rule
	give_to_user $USER_ID
	vmbox /bin/true
	restore
	[ "$status" -eq 125 ]
	[[ $stderr == *"/dev/vmbox: no permission"*"group vmbox"* ]]
}

@test "confine: without user namespaces it runs, and says so" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	give_to_user "$(apply_rule)"
	sysctl -q -w user.max_user_namespaces=0
	vmbox /bin/echo hello
	restore
	[ "$status" -eq 0 ]
	[ "$output" = hello ]
	[[ $stderr == "vmbox: less confinement: "*"user.max_user_namespaces"*": left are seccomp and Landlock" ]]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

@test "confine: without user namespaces the rest of the cage is there" {
	[ -z "${VMBOX_DEVICE-}" ] || skip "for /dev/vmbox only"
	give_to_user "$(apply_rule)"
	sysctl -q -w user.max_user_namespaces=0
	start /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready "$T/out"
	restore
	n=0
	for exe in $(vmbox_processes); do
		p=$(cut -d/ -f3 <<<"$exe")
		n=$((n + 1))
		grep -q '^CapEff:	0000000000000000$' "/proc/$p/status"
		grep -q '^NoNewPrivs:	1$' "/proc/$p/status"
		grep -q '^Seccomp:	2$' "/proc/$p/status"
		has_limit "$p" 'Max processes' 0
	done
	[ $n -eq 3 ]
	kill "$pid"
	finish
}

@test "confine: without user namespaces root's run has the other namespaces" {
	sysctl -q -w user.max_user_namespaces=0
	begin
	restore
	grep 'less confinement.*: left are the other namespaces and seccomp and Landlock$' err
	for p in "$launcher" "$vmm" "$server"; do
		[ "$(rights "$p")" = "0 Uid:65534 Gid:65534" ]
		has_empty_root "$p"
		[ "/proc/$p/ns/user" -ef /proc/self/ns/user ]
		own_spaces "$p" mnt net ipc uts
	done
	end
}

@test "confine: --require-confinement refuses without user namespaces" {
	sysctl -q -w user.max_user_namespaces=0
	vmbox --require-confinement /bin/true
	restore
	[ "$status" -eq 125 ]
	[[ $stderr == "vmbox: --require-confinement: "* ]]
	vmbox --require-confinement /bin/true
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
}

# All attempts of tests/escape, by name.
attempts() {
	sed -nE 's/^\t\{ "([a-z0-9_]+)", ESCAPE_.*/\1/p' "$TREE/tests/escape/escape.c"
}

escaped() { # who, attempt, what the launcher calls it
	VMBOX=$TREE/build/tests/escape/vmbox-escape-$1
	command[0]=$VMBOX
	export VMBOX_ESCAPE=$2
	vmbox /bin/true
	[ "$status" -eq 125 ]
	[[ $output$stderr != *"GOT OUT"* && $stderr != *"no such attempt"* ]]
	[[ $stderr == *"$3"* ]]
	eventually no_processes
}

@test "confine: a VMM that the guest has taken over gets nowhere, and the launcher says so" {
	before=$(wc -l </proc/self/mountinfo)
	[ "$(attempts | wc -l)" -ge 30 ]
	for attempt in $(attempts); do
		escaped vmm "$attempt" "the VMM process was lost: it made a system call that it may not make (SIGSYS)"
	done
	[ "$(wc -l </proc/self/mountinfo)" -eq "$before" ]
	for attempt in late_execute late_connect_unix; do # after it said that the program ended well
		escaped vmm "$attempt" "the VMM process was lost: it made a system call that it may not make (SIGSYS)"
	done
}

@test "confine: a file server that has to be killed leaves no audit that looks whole" {
	VMBOX=$TREE/build/tests/escape/vmbox-escape-fs
	command[0]=$VMBOX
	export VMBOX_ESCAPE=hang
	vmbox --wall 20s --audit audit /bin/true # time for the guest's first message
	[ "$status" -eq 125 ]
	[[ $stderr == *"vmbox: --audit audit: its end is missing: "* ]]
	[ ! -s audit ]
}

@test "confine: a file server that the guest has taken over gets nowhere, and the launcher says so" {
	for attempt in execute connect_unix signal_others map_code io_uring; do
		escaped fs "$attempt" "the file server process was lost: it made a system call that it may not make (SIGSYS)"
	done
	# The call itself is the server's; there is nothing to be found by it.
	for attempt in open_files2 see_files climb write_below; do
		escaped fs "$attempt" "file server: refused"
	done
}

broken() { # how, what vmbox says
	mkdir "$1"
	ln -s "$TREE/build/guest-init/vmlinux" "$1/vmlinux"
	"$TREE/guest-init/mkinitrd" "$GUESTS/breaker_$1" "$1/initrd"
	vmbox --guest-dir "$T/$1" /bin/true
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	[[ $stderr == *"$2"* ]]
	eventually no_processes
}

@test "confine: a guest that breaks a protocol is stopped, and vmbox says so" {
	broken control "vmbox: the guest broke the channel protocol and was stopped: it sent a malformed control message"
	broken p9 "vmbox: file server: the guest broke the 9P protocol: "
	broken p9_rw "vmbox: file server: the guest broke the 9P protocol: "
}

@test "confine: the cages from the inside" {
	run timeout 300 "$TREE/build/tests/unit/test_cage" user
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"VMM may make "* ]]
}

@test "confine: a stream that cannot be written now costs no CPU" {
	timeout 100 /usr/bin/python3 -c '
import os, subprocess, sys, time
r, w = os.pipe()
os.set_blocking(w, False)
child = subprocess.Popen(sys.argv[1:] + ["/usr/bin/head", "-c", "2000000", "/dev/zero"], stdout=w)
os.close(w)
os.read(r, 1)
time.sleep(2)
def ticks():
    total = 0
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and os.readlink(f"/proc/{p}/exe") == sys.argv[1]:
                for t in os.listdir(f"/proc/{p}/task"):
                    f = open(f"/proc/{p}/task/{t}/stat").read().split()
                    total += (int(f[13]) + int(f[14])) * (t != p) # the first is the vCPU
        except OSError:
            pass
    return total
before = ticks()
time.sleep(3)
spent = ticks() - before
child.kill()
child.wait()
print(spent, "of 300 ticks")
sys.exit(spent > 60)' "${command[@]}"
}
