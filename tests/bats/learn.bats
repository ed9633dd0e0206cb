#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# vmbox learn: what it shows, what it writes; and that a run with that does the same, and with
# less does not.
load helpers

setup_file() {
	export LEARN_DIR=/tmp/learn.$$
	mkdir "$LEARN_DIR"
	cat >"$LEARN_DIR/look.c" <<-'END'
		/* For each argument: the contents of a file, the names in DIR/, whether ?PATH is there. */
		#include <dirent.h>
		#include <stdio.h>
		#include <string.h>
		#include <sys/stat.h>

		int main(int argc, char **argv)
		{
			int failed = 0;

			for (; argc > 1; argc--) {
				const char *path = *++argv;
				struct dirent *e;
				struct stat st;
				int c, n = 0;

				if (*path == '?') {
					printf("%s: %s\n", path, lstat(path + 1, &st) ? "no" : "yes");
				} else if (path[strlen(path) - 1] == '/') {
					DIR *dir = opendir(path);

					while (dir && (e = readdir(dir)))
						n += *e->d_name != '.';
					printf("%s: %d\n", path, dir ? n : -1);
				} else {
					FILE *f = fopen(path, "r");

					failed |= !f;
					while (f && (c = getc(f)) != EOF)
						putchar(c);
				}
			}
			return failed;
		}
	END
	gcc -O -static -o "$LEARN_DIR/look" "$LEARN_DIR/look.c"
	chmod -R a+rX "$LEARN_DIR"
}

teardown_file() {
	rm -rf "$LEARN_DIR"
}

# A tree in $T, which nobody can read, as whom root's run goes on.
setup() {
	T=$(mktemp -d /tmp/t.XXXXXX)
	cd "$T" || return
	chmod 755 .
	[ -n "${leftover_before-}" ] || leftover_before=$(leftovers)
	cp "$LEARN_DIR/look" .
	mkdir -p in/dir/sub in/only in/some
	for f in in/file in/other in/dir/a in/dir/b in/some/1 in/some/2; do echo "this is $f" >$f; done
	ln -s file in/link
	running=("${command[@]}")
	learning=("${command[0]}" learn "${command[@]:2}")
}

# Learns to policy.yaml: $status, $output, $stderr.
learn() { # option… [--] program…
	command=("${learning[@]}")
	vmbox -o policy.yaml "$@"
	command=("${running[@]}")
	cat policy.yaml || true
}

# The rules in policy.yaml, as "PATH PATH".
rules() {
	sed -n 's/^  - {path: \(.*\), access: ro}$/\1/p' policy.yaml | xargs
}

# With the policy that was learnt, it is as it was when it was learnt: twice the same.
learns() { # program…
	local learnt_status learnt_output learnt_stderr
	learn -- "$@"
	learnt_status=$status learnt_output=$output learnt_stderr=$stderr
	"$VMBOX" check policy.yaml
	vmbox --policy ./policy.yaml -- "$@"
	[ "$status" = "$learnt_status" ]
	[ "$output" = "$learnt_output" ]
	[ "$stderr" = "$learnt_stderr" ]
}

# Without any one of the rules it is not.
needs_each_rule() { # program…
	local with=$output,$status n
	for n in $(grep -n 'access: ro' policy.yaml | cut -d: -f1); do
		sed "${n}d" policy.yaml >less.yaml
		grep -q 'access: ro' less.yaml || sed -i 's/^fs:$/fs: []/' less.yaml
		vmbox --policy ./less.yaml -- "$@"
		[ "$output,$status" != "$with" ] || { echo "not needed: $(sed -n "${n}p" policy.yaml)"; return 1; }
	done
}

@test "learn: what is read, listed and looked at, no more and no less" {
	learns ./look in/file in/link in/dir/ in/dir/a '?in/only' '?in/none' in/some/1
	[ "$status" -eq 0 ]
	[[ $output == *"this is in/file"*"this is in/file"*"in/dir/: 3"*"?in/only: yes"*"?in/none: no"* ]]
	[ "$(rules)" = "$T/in/dir $T/in/file $T/in/link $T/in/only $T/in/some/1" ]
	needs_each_rule ./look in/file in/link in/dir/ in/dir/a '?in/only' '?in/none' in/some/1
}

@test "learn: names of all kinds, and one that no policy can have" {
	local names=('in/a:b' 'in/c\\d "e"' 'in/#f' 'in/- {g}, h' 'in/größe' $'in/i\nj')
	for name in "${names[@]}" $'in/\xff'; do echo "this is $name" >"$name"; done
	learns ./look "${names[@]}"
	[ "$(grep -c 'access: ro' policy.yaml)" -eq 6 ]
	rm policy.yaml
	learn ./look $'in/\xff'
	[ "$status" -eq 125 ]
	[[ $stderr == "vmbox: learn: $T/in/?: "*"not UTF-8"*"rename it"* ]]
	[ ! -e policy.yaml ]
}

@test "learn: a program that needs nothing, by whatever name" {
	learns ./look
	[ -z "$(rules)" ]
	ln -s look link
	learns ./link '?in/none'
	[ -z "$(rules)" ]
	# Rules that are in the way of its name bring it along.
	learns ./link '?link'
	[ "$(rules)" = "$T/link $T/look" ]
}

@test "learn: shared libraries, links of the system, a shell, python" {
	LIMIT=300
	learns /bin/cat in/file
	[[ " $(rules) " == *" $T/in/file "* ]]
	[[ " $(rules) " == *" /lib64 "* ]]
	[[ " $(rules) " != *" /usr "* ]]
	learns /bin/sh -c 'ls in; cat in/link; PATH=$PATH:/nowhere; type cat; [ -d /usr/share ] && echo share'
	[ "$status" -eq 0 ]
	printf '#!/bin/sh\necho "$0 $*"; exec cat in/file\n' >script
	chmod +x script
	ln -s script called
	learns ./called a b
	[ "${lines[0]}" = "$T/called a b" ]
	learns /usr/bin/python3 -c 'import json, sys; print(json.dumps(sys.version_info[:2])); sys.exit(3)'
	[ "$status" -eq 3 ]
}

@test "learn: streams, exit status, time limit; the policy comes after the program's output" {
	command=("${learning[@]}")
	run --separate-stderr timeout 120 "${command[@]}" /bin/sh -c 'cat; echo err >&2; exit 7' <in/file
	show
	[ "$status" -eq 7 ]
	[ "$output" = "this is in/file" ]
	[ "${stderr_lines[0]}" = err ]
	sed -n '2,$p' <<<"$stderr" >policy.yaml
	"$VMBOX" check policy.yaml
	vmbox --wall 3s /bin/sh -c 'sleep 100'
	[ "$status" -eq 124 ]
	[[ $stderr == *"--wall"*"version: 1"*"limits: {wall: 3s, "* ]]
}

@test "learn: a signal ends it, and what was learnt until then is written" {
	command=("${learning[@]}")
	start -o policy.yaml /bin/sh -c 'cat in/file; echo ready; while :; do sleep 1; done'
	eventually grep -q ready out
	kill "$pid"
	finish
	[ "$status" -eq 143 ]
	[[ " $(rules) " == *" $T/in/file "* ]]
}

@test "learn: SIGKILL of the launcher leaves no process and no policy" {
	command=("${learning[@]}")
	start -o policy.yaml /bin/sh -c 'echo ready; sleep 100'
	eventually grep -q ready out
	kill -9 "$pid"
	wait "$pid" || true
	eventually no_processes
	[ "$(find . -name '*policy*')" = "" ]
	[ "$(find . -name '.vmbox*')" = "" ]
}

@test "learn: nothing is changed; what was not allowed is a comment with the rule for it" {
	learn /bin/sh -c 'echo x >in/new; rm in/file; mkdir in/d; echo y >>in/other; mv in/link in/l; chmod 777 in
		ln -s x "in/a\"b"; echo own >/tmp/own && cat /tmp/own; echo here >here; echo z >"/usr/x
y"; exit 0'
	[ "$status" -eq 0 ]
	[ "$output" = own ]
	[[ $stderr != *"vmbox: refused"* ]]
	[ "$(cat in/file in/other)" = $'this is in/file\nthis is in/other' ]
	[ ! -e in/new ]
	[ ! -e /tmp/own ]
	for comment in "create of \"$T/in/new\": it is read-only there; to allow it, add the rule {path: \"$T/in\", access: rw}" \
		"create of \"$T/here\": it is read-only there; to allow it, add the rule {path: \"$T\", access: rw}" \
		"unlink of \"$T/in/file\": " "create of \"$T/in/d\": " "rename of \"$T/in/link\": " \
		"open for writing of \"$T/in/other\": it is read-only there; to allow it, add the rule {path: \"$T/in/other\", access: rw}" \
		"change of attributes of \"$T/in\": " "create of \"$T/in/a\\\"b\": " 'create of "/usr/x\u000ay": '; do
		grep -qF "#   refused: $comment" policy.yaml
	done
	"$VMBOX" check policy.yaml
	[ "$(grep -vc '^#' policy.yaml)" -gt 5 ]
}

@test "learn: with an overlay and rw, as options, which are in the policy too" {
	mkdir out
	chmod 777 out
	learn --overlay in --rw out --deny in/other --env A=b --memory 256M --files 50 /bin/sh -ec \
		'echo new >in/new; cat in/new in/file; echo "$A" >out/a; [ ! -e in/other ]'
	[ "$status" -eq 0 ]
	[ "$output" = $'new\nthis is in/file' ]
	[ "$(cat out/a)" = b ]
	[ ! -e in/new ]
	for line in "  - {path: $T/in, access: overlay, on_exit: discard}" "  - {path: $T/out, access: rw}" \
		"  - {path: $T/in/other, access: deny}" "  set: {A: b}" "limits: {memory: 256M, files: 50}"; do
		grep -qxF "$line" policy.yaml
	done
	[[ $(rules) != *"$T/in"* ]]
	[[ $(rules) != *"$T/out"* ]]
	run -1 grep refused policy.yaml
	vmbox --policy ./policy.yaml /bin/sh -ec 'cat in/file; echo "$A" >out/b; [ ! -e in/other ]'
	[ "$status" -eq 0 ]
	[ "$(cat out/b)" = b ]
}

@test "learn: not the host's /proc, /sys, /dev and users; no network" {
	echo secret >/dev/shm/learn-secret
	learn /bin/sh -c 'cat /proc/1/comm /etc/hostname; [ -e /dev/vmbox ] || [ -e /dev/shm/learn-secret ] || echo none
		grep -c : /proc/net/dev; cut -d: -f1 /etc/passwd; ls /sys/class/net'
	rm /dev/shm/learn-secret
	[ "$output" = $'init\nvmbox\nnone\n1\nroot\nlo' ]
	run -1 grep -E '/(proc|sys|dev|etc/passwd|etc/hostname)\b' policy.yaml
}

@test "learn: other mounts, and what is mounted inside of what was listed" {
	mkdir m in/dir/m
	mount -t tmpfs x m
	mount -t tmpfs x in/dir/m
	chmod 755 m in/dir/m
	echo mounted >m/f
	echo inside >in/dir/m/f
	touch m/g
	learns ./look m/f
	[ "$output" = mounted ]
	[ "$(rules)" = "$T/m/f" ]
	learns ./look in/dir/ in/dir/m/f
	[ "${lines[1]}" = inside ]
	[ "$(rules)" = "$T/in/dir $T/in/dir/m" ]
	needs_each_rule ./look in/dir/ in/dir/m/f
	umount m in/dir/m
}

@test "learn: more files than a policy can have rules" {
	LIMIT=300
	mkdir many
	for i in $(seq 300); do echo "$i" >many/$i; done
	learns /bin/sh -c 'i=0; while [ $((i += 1)) -le 300 ]; do read -r x <many/$i; echo "$x"; done'
	[ "${lines[299]}" = 300 ]
	[[ " $(rules) " == *" $T/many "* ]]
	grep -qxF "# More than it needed, as there would be too many rules: all that is in $T/many" policy.yaml
}

@test "learn: what the guest has of its own is said, where it was listed" {
	learn ./look /etc/
	[ -z "$(rules)" ]
	grep -q '^# It listed /etc, of which the guest has its own' policy.yaml
	"$VMBOX" check policy.yaml
}

@test "learn: in a directory that only root can look into" {
	[ "$UID" -eq 0 ] || skip "needs root"
	mkdir -p /root/learn
	cp look in/file /root/learn
	chmod 755 /root/learn
	chmod 700 /root
	cd /root/learn
	learns ./look file
	[ "$output" = "this is in/file" ]
	[ "$(rules)" = /root/learn/file ]
	cd "$T"
	rm -r /root/learn
	# Not with more rights than a run has.
	chmod 600 in/file
	chown root: in/file
	learn ./look in/file
	[[ $output != *"this is"* ]]
}

@test "learn: as a user" {
	[ "$UID" -eq 0 ] || skip "needs root to become others"
	chown -R 1234:1235 .
	echo secret >/tmp/learn-secret
	chmod 600 /tmp/learn-secret
	chmod 666 /dev/vmbox
	learning=(setpriv --reuid 1234 --regid 1235 --clear-groups "${learning[@]}")
	running=(setpriv --reuid 1234 --regid 1235 --clear-groups "${running[@]}")
	learns /bin/sh -c 'id -u; cat in/file; cat /tmp/learn-secret 2>&1 | grep -c secret:; echo x >/tmp/learn-new; echo y >$HOME/y; cat /tmp/learn-new $HOME/y'
	chmod 600 /dev/vmbox
	rm /tmp/learn-secret
	[ "${lines[*]}" = "1234 this is in/file 1 x y" ]
	[ "$(stat -c %u policy.yaml)" = 1234 ]
}

@test "learn: what is refused before it runs" {
	learn ./nothing
	[ "$status" -eq 127 ]
	[ ! -e policy.yaml ]
	learn --policy default ./look
	[ "$status" -eq 125 ]
	[[ $stderr == *"--policy: is not for learn"* ]]
	learn --ro in:/x ./look
	[ "$status" -eq 125 ]
	[[ $stderr == *"give PATH alone"* ]]
	command=("${learning[@]}")
	vmbox
	[ "$status" -eq 125 ]
	for file in ./none/policy.yaml . ./in; do
		vmbox -o "$file" ./look
		[ "$status" -eq 125 ]
		[[ $stderr == "vmbox: learn: $file: "* ]]
	done
	[ ! -e policy.yaml ]
}

@test "learn: the file is replaced as a whole, or not at all" {
	echo old >policy.yaml
	ln policy.yaml kept
	learn ./look in/file
	[ "$(cat kept)" = old ]
	[ "$(rules)" = "$T/in/file" ]
	learn --device /nonexistent ./look
	[ "$status" -eq 125 ]
	[ "$(rules)" = "$T/in/file" ]
	# Gone when it is to be written.
	mkdir d
	command=("${learning[@]}")
	start -o d/policy.yaml /bin/sh -c 'echo ready; sleep 3'
	eventually grep -q ready out
	rm -r d
	finish
	[ "$status" -eq 125 ]
	grep -q '^vmbox: learn: d/policy.yaml: ' err
}
