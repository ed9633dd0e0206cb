#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# Policies: check, explain, --print-policy, and what run refuses. None of this needs a VM, but
# the last tests, which say so.
load helpers

# Runs a verb of vmbox: $status, $output, $stderr.
verb() {
	run --separate-stderr timeout -k 5 20 "$VMBOX" "$@"
	show
}

# One line on stderr, from vmbox, with this in it.
says() {
	[[ $stderr == "vmbox: "*"$1"* ]]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

example() {
	cat >policy.yaml <<-'END'
		version: 1
		fs:
		  - {path: /usr, access: ro}
		  - {path: ., at: /work, access: overlay, on_exit: diff}   # discard | diff | commit
		  - {path: ./.git/hooks, access: deny}
		  - {path: ./out, access: rw, quota: 200M}
		env: {pass: [LANG], set: {CI: "1"}}
		net: none
		limits: {wall: 60s, cpu: 30s, memory: 512M, pids: 64, files: 256, file_size: 100M, stdout: 10M}
		time: {clock: real}
	END
}

# What --print-policy says of these options is the same when it is read again.
round_trip() {
	"$VMBOX" run "$@" --print-policy >first.yaml
	"$VMBOX" check first.yaml
	mkdir -p elsewhere
	(cd elsewhere && "$VMBOX" run --policy ../first.yaml --print-policy >../second.yaml)
	diff first.yaml second.yaml
}

@test "policy: check of a valid one" {
	example
	verb check policy.yaml
	[ "$status" -eq 0 ]
	[ "$output" = "policy.yaml: valid" ]
	[ -z "$stderr" ]
}

@test "policy: check says where, what, what is allowed and what is nearest" {
	printf 'version: 1\nfs:\n  - {path: /usr, acess: ro}\n' >bad.yaml
	verb check bad.yaml
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	says "bad.yaml:3:18: unknown key 'acess' in a rule of 'fs'; known: path, at, access, on_exit, quota; the nearest is 'access'"
	verb run --policy bad.yaml /bin/true
	[ "$status" -eq 125 ]
	says "bad.yaml:3:18: "
	verb explain bad.yaml /usr
	[ "$status" -eq 1 ]
	says "bad.yaml:3:18: "
}

@test "policy: check of what is not there, not a file, or not said" {
	verb check ./nothing.yaml
	[ "$status" -eq 125 ]
	says "./nothing.yaml: the policy cannot be opened"
	verb check /usr/.
	[ "$status" -eq 1 ]
	says "/usr/.:1:1: cannot be read"
	verb check
	[ "$status" -eq 125 ]
	says "vmbox check POLICY"
	verb check --ro
	[ "$status" -eq 125 ]
}

@test "policy: nothing but the policy's own text gets to the terminal" {
	printf 'version: 1\nnet: "\\e[2J\\u202e"\n' >bad.yaml
	verb check bad.yaml
	[ "$status" -eq 1 ]
	says "bad.yaml:2:6: net: '?[2J???' is not allowed"
}

@test "policy: explain names the rule, the line and what can be done" {
	example
	verb explain policy.yaml /usr/bin/env
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "/usr/bin/env: ro, by policy.yaml:3:5: {path: /usr, access: ro}" ]
	[[ ${lines[1]} == *"read and run the host's /usr/bin/env"*"change nothing"* ]]
	verb explain policy.yaml /work/.git/hooks/pre-commit
	[[ ${lines[0]} == "/work/.git/hooks/pre-commit: deny, by policy.yaml:5:5: {"* ]]
	verb explain policy.yaml /work/.git/config
	[[ ${lines[0]} == "/work/.git/config: overlay, by policy.yaml:4:5: {"* ]]
	[[ $output == *"listed on stderr"* ]]
	verb explain policy.yaml /work/out/x
	[[ ${lines[0]} == "/work/out/x: rw, by policy.yaml:6:5: {"* ]]
	[[ $output == *"at most 200M"*"the host has no $T/out now"* ]]
	verb explain policy.yaml /etc/passwd
	[ "${lines[0]}" = "/etc/passwd: deny, by default: no rule is about it or a directory above it" ]
	verb explain policy.yaml /
	[[ ${lines[1]} == *"a directory of its own"* ]]
}

@test "policy: explain finds a path of the host's elsewhere in the guest" {
	example
	verb explain policy.yaml ./out/x
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "$T/out/x: deny, by default"* ]]
	[ "${lines[2]}" = "The host's $T/out/x is elsewhere in the guest:" ]
	[[ ${lines[3]} == "/work/out/x: rw, by policy.yaml:6:5: {"* ]]
}

@test "policy: explain follows links as the guest does; the program is always there" {
	mkdir -p w/real
	touch w/real/key
	ln -s real w/link
	printf 'version: 1\nfs: [{path: w, at: /w, access: rw}, {path: w/real/key, access: deny}]\n' >p.yaml
	verb explain p.yaml /w/link/key
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "/w/link/key is by way of a link in the guest, /w/link -> real; so it is:" ]
	[[ ${lines[1]} == "/w/real/key: deny, by p.yaml:2:37: {"* ]]
	cp /bin/true prog
	verb explain p.yaml ./prog
	[[ ${lines[0]} == "$T/prog: deny, by default"* ]]
	[[ $output == *"But if it is the program that is run, the guest can read and run it."* ]]
	verb explain p.yaml ./p.yaml
	[[ $output != *"the program"* ]]
}

@test "policy: check, explain and run refuse a rule by way of a link" {
	mkdir -p w/real
	ln -s real w/link
	printf 'version: 1\nfs: [{path: w, at: /w, access: rw}, {path: w/link/key, access: deny}]\n' >p.yaml
	for command in "check p.yaml" "explain p.yaml /w/link/key"; do
		# shellcheck disable=SC2086
		verb $command
		[ "$status" -eq 1 ]
		says "p.yaml:2:37: $T/w/link is a link to real"
		says ": name $T/w/real/key"
	done
	verb run --policy p.yaml --device /nonexistent /bin/true
	[ "$status" -eq 125 ]
	says "p.yaml:2:37: $T/w/link is a link to real"
	# Links that lead to the policy and to the working directory do not matter.
	ln -s w/real here
	printf 'version: 1\nfs: [{path: x, access: ro}]\n' >here/p.yaml
	verb run --policy here/p.yaml --print-policy
	[[ $output == *"{path: $T/w/real/x, access: ro}"* ]]
	cd here
	verb run --policy strict --ro "$PWD/x" --print-policy
	[ "$status" -eq 0 ]
	[[ $output == *"{path: $T/here/x, access: ro}"* ]]
	cd ..
	verb run --policy strict --ro "$T/here/x" --print-policy
	[ "$status" -eq 125 ]
	says "name $T/w/real/x"
}

@test "policy: explain with options" {
	example
	verb explain --deny /usr/local --rw /srv policy.yaml /usr/local/bin
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "/usr/local/bin: deny, by --deny /usr/local: {"* ]]
	verb explain --ro /a policy.yaml
	[ "$status" -eq 125 ]
	says "vmbox explain [OPTION...] POLICY PATH"
	verb explain --cwd / policy.yaml /
	[ "$status" -eq 125 ]
	says "unknown option"
}

@test "policy: relative paths are relative to the policy file, options' to here" {
	mkdir conf
	printf 'version: 1\nfs: [{path: ../data, access: ro}, {path: x, access: ro}]\n' >conf/p.yaml
	verb run --policy conf/p.yaml --ro y --print-policy
	[ "$status" -eq 0 ]
	[[ $output == *"{path: $T/data, access: ro}"* ]]
	[[ $output == *"{path: $T/conf/x, access: ro}"* ]]
	[[ $output == *"{path: $T/y, access: ro}"* ]]
}

@test "policy: what is printed gives itself" {
	example
	round_trip --policy policy.yaml
	round_trip --policy policy.yaml --wall 90s --memory 1G --env CI=2 --env "B=a \"b\" \\ é" --deny ./out/x
	round_trip --ro '/a\:b:/c d' --overlay . --on-exit commit --quota 1G --rw ./out --quota 5
	round_trip --timeout 1500ms --cpu 5 --pids 7 --files 8 --file-size 9K --stdout 10M --net none --clock real
	for profile in default strict ci build; do round_trip --policy $profile; done
}

@test "policy: options go over files, and files over earlier ones" {
	example
	verb run --memory 1G --policy policy.yaml --policy strict --print-policy
	[ "$status" -eq 0 ]
	[[ $output == *"wall: 1m,"*"memory: 1G,"*"pids: 64"* ]]
	[[ $output == *"at: /work"* ]]
	[[ $output == *"set: {CI: \"1\"}"* ]]
}

@test "policy: two rules for one place are refused, and both are named" {
	example
	verb run --policy policy.yaml --rw /usr --print-policy
	[ "$status" -eq 125 ]
	says "--rw /usr: /usr is 'rw' here, but policy.yaml:3:5 has another rule for it ('ro')"
}

@test "policy: bad options say which and what is allowed" {
	verb run --on-exit diff /bin/true
	[ "$status" -eq 125 ]
	says "--on-exit diff: give it right after the --overlay"
	verb run --wall soon /bin/true
	says "--wall soon: wall: 'soon' is not allowed: give a time such as 500ms"
	verb run --ro ./a:b /bin/true
	says "must be absolute"
	verb run --net host --print-policy
	says "--net host: is not allowed; allowed here: none"
}

@test "policy: profiles" {
	for profile in default strict ci build; do
		verb check $profile
		[ "$status" -eq 0 ]
		grep -q '^# Gives away: ' "$TREE/policy/profiles/$profile.yaml"
	done
	verb run --print-policy
	[[ $output == *"{path: /usr, access: ro}"* ]]
	verb run --policy strict --print-policy
	[[ $output == *"fs: []"* ]]
	verb explain build ./.git/hooks
	[[ ${lines[0]} == "$T/.git/hooks: ro, by build:"* ]]
	verb check nonesuch
	[ "$status" -eq 125 ]
	says "there is no such profile"
	for profile in default strict ci build; do [[ $stderr == *" $profile"* ]]; done
}

@test "policy: a launcher without its profiles has the default one" {
	cp "$VMBOX" ./alone
	run --separate-stderr ./alone run --print-policy
	[ "$status" -eq 0 ]
	[ "$output" = "$("$VMBOX" run --print-policy)" ]
	run --separate-stderr ./alone check ci
	[ "$status" -eq 125 ]
	says "the profiles are not there"
}

@test "policy: run refuses what it cannot enforce yet, before it starts anything" {
	example
	for option in "--ro /srv:/etc" "--overlay .:/"; do
		# shellcheck disable=SC2086
		verb run --device /nonexistent $option /bin/true
		[ "$status" -eq 125 ]
		says "$option: "
		says "not enforced yet"
		# shellcheck disable=SC2086
		verb run $option --print-policy
		[ "$status" -eq 0 ]
	done
	# These it can.
	mkdir -p out/x
	verb run --device /nonexistent --ro /srv --deny /srvx --ro /usr/bin --rw out --deny out/x --overlay . --on-exit diff --wall 5s --cpu 5s --memory 64M --pids 5 --files 5 --file-size 5M --stdout 5M --net none --clock real /bin/true
	says "/nonexistent: there is no such device"
}

@test "policy: in a VM, the guest has what the rules say, and nothing else" {
	[ -e "${VMBOX_DEVICE:-/dev/vmbox}" ] || skip "no device"
	mkdir -p data/sub
	echo "of the host" >data/sub/file
	ln -s sub/file data/link
	vmbox --ro data:/given --env A=b /bin/sh -c 'cat /given/link; ls /given; echo $A; ls -d '"$T/data"
	[[ $output == "of the host"$'\n'link$'\n'sub$'\n'b ]]
	[[ $stderr == *"No such file"* ]]
	printf 'version: 1\nfs: [{path: data/sub/file, at: /f, access: ro}, {path: /usr, access: ro}, {path: /lib, access: ro}, {path: /lib64, access: ro}]\n' >p.yaml
	vmbox --policy p.yaml /usr/bin/cat /f
	[ "$status" -eq 0 ]
	[ "$output" = "of the host" ]
	vmbox --policy p.yaml /usr/bin/ls /bin
	[[ $stderr == *"No such file"* ]]
}

@test "policy: in a VM, strict runs a static program, and only that" {
	[ -e "${VMBOX_DEVICE:-/dev/vmbox}" ] || skip "no device"
	vmbox --policy strict /bin/true
	[ "$status" -eq 126 ]
	gcc -static -x c -o static - <<<'int main(void) { return 7; }'
	vmbox --policy strict ./static
	[ "$status" -eq 7 ]
}

@test "policy: in a VM, a program that is denied or hidden is not started" {
	[ -e "${VMBOX_DEVICE:-/dev/vmbox}" ] || skip "no device"
	cp /bin/true prog
	vmbox --deny ./prog ./prog
	[ "$status" -eq 125 ]
	says "the policy denies it (--deny ./prog)"
	mkdir other
	vmbox --ro "other:$T" ./prog
	[ "$status" -eq 125 ]
	says "the guest has the host's $T/other/prog at that path"
}
