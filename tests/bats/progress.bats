#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# What takes long is said on a terminal, and taken away again. Others (options.bats) see that
# stderr has nothing of it where that is no terminal.
load helpers

# Runs vmbox with a terminal of 80 columns as its streams: it shows $T/seen, $T/keys is typed. The
# quoting is Bash's, so that the shell has to be.
start_in_terminal() {
	local line
	printf -v line '%q ' "${command[@]}" "$@"
	mkfifo "$T/keys"
	SHELL=/bin/bash script -qefc "stty cols 80; exec $line" "$T/seen" <>"$T/keys" >"$T/out" 3>&- &
	pid=$!
}

# The process of vmbox's that has a descriptor of this name, as find(1) has it.
holder() {
	local exe p
	for exe in $(vmbox_processes); do
		p=$(echo "$exe" | cut -d/ -f3)
		if find "/proc/$p/fd" -lname "$1" 2>/dev/null | grep -q .; then
			echo "$p"
			return
		fi
	done
}

# What the terminal has shown; many blanks are "<80>", a carriage return is "~".
seen() {
	sed '1d; /^Script done/d' "$T/seen" | perl -pe 's/( {10,})/"<" . length($1) . ">"/ge; s/\r/~/g'
}

# As finish(), however long it takes.
ends() {
	eventually no_processes
	finish
}

sees() {
	seen | grep -q "$1"
}

@test "progress: the guest's start, gone before a message" {
	mkdir guest
	cp "$GUEST/initrd" guest/
	echo '.globl _start; _start: jmp _start' |
		gcc -x assembler -nostdlib -static -Wl,-N,-Ttext=0x1000000 -o guest/vmlinux -
	command+=(--guest-dir guest)
	start_in_terminal /bin/echo hello
	eventually sees "starting the guest"
	kill -9 "$(holder 'anon_inode:*vcpu*')"
	ends
	[ "$status" -eq 125 ]
	seen
	[[ $(seen) == "<80>~vmbox: starting the guest~<25>~vmbox: the VMM process was lost"* ]]
}

@test "progress: the guest's start, if it was long, gone before the program's first byte" {
	start_in_terminal /bin/echo hello
	eventually sees hello
	ends
	[ "$status" -eq 0 ]
	seen
	[[ $(seen) =~ ^(<80>~vmbox: starting the guest~<25>~)?hello~$ ]]
}

# Its audit is a pipe that nobody reads, so it cannot end before it has been seen.
@test "progress: a commit, below what the program wrote last" {
	mkdir work && cd work
	mkfifo "$T/audit"
	exec 5<>"$T/audit"
	start_in_terminal --overlay . --on-exit commit --audit "$T/audit" /bin/sh -c '
		for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4 5 6 7 8; do echo $i >$(printf "%0200d" $i$j); done; done
		printf "done!"'
	eventually sees committing
	cat <&5 >"$T/audit.json" &
	eventually no_processes
	kill $! && exec 5>&-
	finish
	[ "$status" -eq 0 ]
	[ "$(ls | wc -l)" -eq 64 ]
	seen
	[[ $(seen) =~ done!"<80>~vmbox: committing~<17>~"$ ]]
}
