#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Each error: its message, its exit status.
load helpers

# One line or more, each of the form role[pid]: what: why.
is_message() {
	[[ ${stderr_lines[0]} =~ ^[a-z0-9-]+(\[[0-9]+\])?:\ .+ ]]
}

@test "errors: no device" {
	device=(--device /nonexistent/vmbox)
	run --separate-stderr "$VMBOX" run --guest-dir "$GUEST" --device /nonexistent/vmbox /bin/true
	show
	[ "$status" -eq 125 ]
	is_message
	[[ $stderr == *"/nonexistent/vmbox"* ]]
}

@test "errors: no permission for the device" {
	cp "$VMBOX" "$T/vmbox" && chmod 755 "$T" && chmod 600 /dev/vmbox
	run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups "$T/vmbox" run --guest-dir "$GUEST" /bin/true
	show
	[ "$status" -eq 125 ]
	is_message
	[[ ${stderr,,} == *permission* ]]
	[[ $stderr == *"/dev/vmbox"* ]]
}

@test "errors: not an ELF, not a script" {
	echo "just text" >text && chmod +x text
	vmbox ./text
	[ "$status" -eq 126 ]
	is_message
	[[ $stderr == *text* ]]
}

@test "errors: not executable" {
	printf '#!/bin/sh\n' >plain && chmod 644 plain
	vmbox ./plain
	[ "$status" -eq 126 ]
	is_message
}

@test "errors: a directory" {
	vmbox /usr/bin
	[ "$status" -eq 126 ]
	is_message
}

@test "errors: another architecture" {
	vmbox "$GUESTS/hello_arm"
	[ "$status" -eq 126 ]
	is_message
	[[ ${stderr,,} == *architecture* || ${stderr,,} == *machine* || ${stderr,,} == *arm* ]]
}

@test "errors: the script's interpreter is missing" {
	printf '#!/no/such/interpreter\n' >script && chmod +x script
	vmbox ./script
	[ "$status" -eq 126 ] || [ "$status" -eq 127 ]
	is_message
}

@test "errors: program not found" {
	vmbox ./nosuch
	[ "$status" -eq 127 ]
	is_message
	[[ $stderr == *nosuch* ]]
}

@test "errors: program not found in PATH" {
	vmbox nosuch-program
	[ "$status" -eq 127 ]
	is_message
}

@test "errors: out of memory in the guest" {
	vmbox --report r.json --memory 128M "$GUESTS/eatmem"
	[ "$status" -eq 122 ]
	[ "$(reason r.json)" = "memory 122 memory" ]
	is_message
	[[ ${stderr,,} == *memory* ]]
	[[ $stderr == *128* ]]
	[[ $stderr == *--memory* ]]
}

@test "errors: the guest kernel panics" {
	mkdir guest
	cp "$GUEST/vmlinux" guest/
	echo "not an initrd" >guest/initrd
	run --separate-stderr timeout 120 "$VMBOX" run --guest-dir guest "${device[@]}" /bin/true
	show
	[ "$status" -eq 125 ]
	[[ $stderr == *"Kernel panic"* || ${stderr,,} == *"no working init"* || $stderr == *"VFS"* ]]
	[[ ${stderr,,} == *"guest kernel"* ]]
}

@test "errors: no guest" {
	run --separate-stderr timeout 120 "$VMBOX" run --guest-dir /nonexistent "${device[@]}" /bin/true
	show
	[ "$status" -eq 125 ]
	is_message
	[[ $stderr == */nonexistent* ]]
}

@test "errors: a guest kernel that is not one" {
	mkdir guest
	cp /bin/true guest/vmlinux
	cp "$GUEST/initrd" guest/
	run --separate-stderr timeout 120 "$VMBOX" run --guest-dir guest "${device[@]}" /bin/true
	show
	[ "$status" -eq 125 ]
	is_message
}

# The process that has the vCPU.
vmm_pid() {
	local fd
	fd=$(find /proc/[0-9]*/fd -lname 'anon_inode:*vcpu*' 2>/dev/null | head -n 1)
	[ -n "$fd" ] && echo "$fd" | cut -d/ -f3
}

@test "errors: the VMM is lost" {
	start --report "$T/r.json" /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready out
	kill -9 "$(vmm_pid)"
	finish
	[ "$status" -eq 125 ]
	[ "$(reason r.json)" = "vmm_lost 125" ]
	[ -s err ]
}

@test "errors: the file server is lost" {
	start /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready out
	vmm=$(vmm_pid)
	server=
	for exe in $(vmbox_processes); do
		p=$(echo "$exe" | cut -d/ -f3)
		[ "$p" = "$pid" ] || [ "$p" = "$vmm" ] || server=$p
	done
	[ -n "$server" ]
	kill -9 "$server"
	finish
	[ "$status" -eq 125 ]
	[ -s err ]
}

@test "errors: unknown option" {
	vmbox --nosuch /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *nosuch* ]]
}

@test "errors: no program" {
	vmbox
	[ "$status" -eq 125 ]
	[ -n "$stderr" ]
}

@test "errors: bad values of options" {
	for bad in "--memory 12x" "--memory 0" "--memory 99999999G" "--timeout soon" "--timeout -1" "--env =x"; do
		# shellcheck disable=SC2086
		vmbox $bad /bin/true
		[ "$status" -eq 125 ]
		is_message
	done
}
