#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# The host's files in a VM: what may be written, what is kept apart, what is denied, and the audit.
# VMBOX_TEST_FILES and VMBOX_TEST_MIB: how many small files, how large a large one.
load helpers

FILES=${VMBOX_TEST_FILES:-300} MIB=${VMBOX_TEST_MIB:-16}

# In a shell of the guest, with the working directory writable.
in_rw() { # options… script
	vmbox --rw . "${@:1:$#-1}" /bin/sh -ec "${!#}"
}

@test "fs: rw: what the program makes is the caller's, and what it does is done" {
	echo old >old
	umask 022
	in_rw 'cat old; echo new >new; mkdir d; mv old d/moved; ln -s d/moved link; ln new hard; chmod 6755 new
		truncate -s 5 big; echo more >>new; rm hard; mkfifo p 2>&1 || true; stat -c "%U %a" new
		touch -d @1000000000 d; chown 12345 new 2>&1 || true'
	[ "$status" -eq 0 ]
	[ "$(cat new)" = $'new\nmore' ]
	[ "$(stat -c '%u %a' new)" = "$UID 755" ]
	[ "$(stat -c '%u %Y' d)" = "$UID 1000000000" ]
	[ "$(cat link)" = old ]
	[ "$(stat -c %s big)" -eq 5 ]
	[ ! -e hard ]
	[ ! -e p ]
	[ "${lines[0]}" = old ]
	[[ $output == *"mkfifo: "*"Operation not permitted"*"root 755"* ]]
}

@test "fs: rw: a user's files are its own, in both directions" {
	[ "$UID" -eq 0 ] || skip "needs root to become others"
	mkdir mine
	chown 1234:1235 . mine
	chmod 755 .
	chmod 666 /dev/vmbox
	echo x >roots
	run --separate-stderr setpriv --reuid 1234 --regid 1235 --clear-groups "${command[@]}" --rw . /bin/sh -c \
		'id -u; id -g; stat -c "%u %g" mine roots; echo a >mine/f; touch roots; mkdir mine/d'
	show
	chmod 600 /dev/vmbox
	[ "${lines[*]}" = "1234 1235 1234 1235 65534 65534" ] # of others the user's namespace knows nothing
	[[ $stderr == *"touch: cannot touch 'roots': Permission denied"* ]]
	[ "$(stat -c '%u %g' mine/f mine/d | sort -u)" = "1234 1235" ]
}

@test "fs: rw: nothing is lost when the program ends, or its children go on" {
	in_rw '/usr/bin/python3 -c "
import mmap, os
f = open(\"mapped\", \"w+b\")
f.truncate(20000)
m = mmap.mmap(f.fileno(), 20000)
m[0:5] = b\"first\"
m[19990:19994] = b\"last\"
os._exit(0)"
	sh -c "while echo line; do :; done >endless" &
	sleep 1; echo done >written'
	[ "$status" -eq 0 ]
	[ "$(head -c 5 mapped)" = first ]
	[ "$(tail -c 10 mapped | head -c 4)" = last ]
	[ "$(cat written)" = done ]
	[ -s endless ]
}

@test "fs: rw: appends of several processes" {
	in_rw 'for i in 1 2 3 4; do (for j in 1 2 3 4 5 6 7 8 9 10; do echo $i $j >>log; done) & done; wait; sort -u log | wc -l'
	[ "$output" -eq 40 ]
	[ "$(sort -u log | wc -l)" -eq 40 ]
}

@test "fs: rw: git" {
	LIMIT=400
	in_rw 'git init -q r; cd r; git config user.name n; git config user.email e@x
		for i in 1 2 3; do echo $i >f$i; mkdir d$i; echo $i >d$i/g; git add .; git commit -q -m $i; done
		git checkout -q -b other HEAD~1; git mv f1 f4; git commit -q -m moved; git merge -q -m merged master; git gc -q
		git fsck --strict; git status --porcelain; git log --format=%s | wc -l'
	[ "$status" -eq 0 ]
	[ "$output" = 5 ]
	git config --global --add safe.directory '*' || true
	git -C r fsck --strict
	[ "$(git -C r log --format=%s -n 1)" = merged ]
}

@test "fs: rw: parallel make" {
	LIMIT=400
	cat >Makefile <<-'END'
		.RECIPEPREFIX := >
		OBJS := $(foreach i,1 2 3 4 5 6,o$i.o)
		prog: $(OBJS)
		> gcc -o $@ $^
		o1.c:
		> echo 'int f2(void); int main(void) { return f2() - 42; }' >$@
		o%.c:
		> echo 'int f$*(void) { return 42; }' >$@
		%.o: %.c
		> gcc -c -o $@ $<
	END
	in_rw 'make -s -j4; ./prog; echo $?; make -s -q && echo made'
	[ "$status" -eq 0 ]
	[ "${lines[*]}" = "0 made" ]
	[ -x prog ]
}

@test "fs: rw: a tree of many small files" {
	LIMIT=$((600 + FILES / 40))
	in_rw "/usr/bin/python3 -c '
import os
for i in range($FILES):
    os.makedirs(str(i % 17), exist_ok=True)
    open(f\"{i % 17}/{i}\", \"w\").write(str(i))
assert sum(int(open(os.path.join(d, f)).read()) for d, _, fs in os.walk(\".\") for f in fs) == $FILES * ($FILES - 1) // 2
for i in range(0, $FILES, 2):
    os.unlink(f\"{i % 17}/{i}\")'"
	[ "$status" -eq 0 ]
	[ "$(find . -type f | wc -l)" -eq $((FILES / 2)) ]
	chmod 755 . # root's run goes on as nobody
	vmbox --ro . /bin/sh -c 'find . -type f | wc -l'
	[ "$output" -eq $((FILES / 2)) ]
}

@test "fs: rw: a large file" {
	LIMIT=$((600 + MIB))
	in_rw "head -c ${MIB}M /dev/zero | tr '\\0' x >large; sha256sum <large; printf end | dd of=large bs=1 seek=5000000000 conv=notrunc status=none; stat -c %s large; tail -c 3 large"
	[ "$status" -eq 0 ]
	[ "$(stat -c %s large)" -eq 5000000003 ]
	[ "${lines[0]}" = "$(head -c "${MIB}M" large | sha256sum)" ]
	[ "${lines[1]}" = 5000000003 ]
	[ "${lines[2]}" = end ]
}

@test "fs: rw: a quota" {
	vmbox --report r.json --rw . --quota 1M /bin/sh -c 'head -c 2M /dev/zero >f; echo $?; echo x >g; df -k --output=avail . | tail -n 1'
	[[ $output == 1$'\n'* ]]
	[ "$(stat -c %s f)" -le 1048576 ]
	[ "$(stat -c %s f)" -gt 900000 ]
	[[ $stderr == *'vmbox: refused: write of "'"$T"'/f": --rw .: its quota is used up'* ]]
	[[ $stderr == *"Disk quota exceeded"* ]]
	[ "$(reason r.json)" = "exited 0 quota" ]
}

@test "fs: rw: what is not there is an error, not a surprise" {
	vmbox --rw ./nowhere /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *"--rw ./nowhere: $T/nowhere: the host's file or directory is not there: make it"* ]]
	[ ! -e nowhere ]
}

@test "fs: rw: one file" {
	echo a >one
	vmbox --rw ./one /bin/sh -c 'echo b >>one; echo c >two; rm one; ls'
	[ "$(cat one)" = $'a\nb' ]
	[ ! -e two ]
}

@test "fs: deny inside of others: it is not there, and stays where it is" {
	mkdir -p w/.git/hooks w/sub
	echo secret >w/.git/hooks/h
	echo secret >w/key
	for how in ro rw overlay; do
		vmbox --$how w:/w --deny w/.git/hooks --deny w/key /bin/sh -c 'cd /w; cat .git/hooks/h key; ls -A . .git
			mv .git g; mkdir .git/hooks/x; echo x >key; find . -name h'
		[[ $output$stderr != *secret* ]]
		[[ $output != *hooks* ]]
		[[ $output != *key* ]]
		[[ $stderr == *'vmbox: refused: lookup of "/w/key": --deny w/key: it is denied there; to allow it, take away the rule "--deny w/key"'* ]]
		[ "$(cat w/key)" = secret ]
		[ "$(cd w && find . | sort | tr '\n' ' ')" = ". ./.git ./.git/hooks ./.git/hooks/h ./key ./sub " ]
	done
}

@test "fs: one rule inside of another" {
	mkdir -p w/.git w/out w/secret/deep/public other
	echo c >w/.git/config
	echo secret >w/secret/deep/key
	echo p >w/secret/deep/public/p
	echo o >other/o
	mkdir w/there
	vmbox --rw w:/w --ro w/.git --overlay w/out --deny w/secret --ro w/secret/deep/public --ro other:/w/there /bin/sh -c \
		'cd /w; cat .git/config secret/deep/public/p secret/deep/key there/o; ls secret/deep; echo x >.git/config; echo x >out/x; echo x >new; ls out; mv secret s; rmdir there'
	[[ $output == $'c\np\no\npublic\nx' ]]
	[[ $stderr == *"cannot create .git/config: Read-only file system"* ]]
	[[ $stderr == *"secret/deep/key: No such file or directory"* ]]
	run "$VMBOX" explain --rw w:/w --deny w/secret --ro w/secret/deep/public strict /w/secret/deep/key
	[[ $output == "/w/secret/deep/key: deny, by --deny w/secret"* ]]
	[ "$(cat w/new w/.git/config)" = $'x\nc' ]
	[ -z "$(ls w/out)" ]
	[ -d w/there ]
	vmbox --ro w:/w --ro other:/w/nowhere /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *"--ro other:/w/nowhere: /w/nowhere: it is inside of what another rule shows, and the host has nothing"* ]]
}

@test "fs: a rule whose path goes by a link is refused" {
	mkdir -p w/real
	ln -s real w/link
	echo secret >w/real/key
	vmbox --rw w:/w --deny w/link/key /bin/cat /w/real/key
	[ "$status" -eq 125 ]
	[[ $stderr == *"--deny w/link/key: $T/w/link is a link to real"*": name $T/w/real/key" ]]
	vmbox --rw w:/w --deny w/real/key /bin/sh -c 'cat /w/link/key; ls /w/link/'
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "fs: overlay: the host's files, and a copy of what is changed" {
	mkdir -p w/d
	echo one >w/f
	echo two >w/d/g
	chmod 4755 w/f
	vmbox --overlay w --cwd "$T/w" /bin/sh -ec 'cat f d/g; echo more >>f; cat f; rm d/g; mkdir e; mv d e/d; ls e; rm -r e; ls; mkdir d; ls -A d'
	[ "$status" -eq 0 ]
	[ "$output" = $'one\ntwo\none\nmore\nd\nf' ]
	[ "$(cat w/f w/d/g)" = $'one\ntwo' ]
	[ ! -e w/e ]
	vmbox --overlay w:/w --quota 1M /bin/sh -c 'head -c 3M /dev/zero >/w/big'
	[ "$status" -ne 0 ]
	[[ $stderr == *"No space left on device"* ]]
	vmbox --overlay ./w/f /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *"only a directory can be an overlay"* ]]
}

@test "fs: the audit has what was changed and what was refused, and is nobody's to write" {
	mkdir w
	vmbox --rw w:/w --audit audit /usr/bin/python3 -c '
import os
os.chdir("/w")
open(b"\xff \"\n{}", "w").close()
open("f", "w").close()
os.rename("f", "g")
os.unlink("g")
for i in 1, 2:
    try:
        open("/usr/x", "w")
    except OSError as e:
        print(e.strerror)'
	[ "$status" -eq 0 ]
	/usr/bin/python3 - <<-'END'
		import json
		lines = [json.loads(l) for l in open("audit")]
		assert all(l["time"] > 0 for l in lines)
		seen = [(l["event"], l.get("path", "")) for l in lines]
		assert seen[:4] == [("create", "/w/\udcff \"\n{}"), ("create", "/w/f"), ("rename", "/w/f"), ("unlink", "/w/g")], seen
		refused = [l for l in lines if l.get("path") == "/usr/x"]
		assert len(refused) == 1 and refused[0]["rule"].startswith("default:"), refused
		assert lines[-1]["event"] == "end" and lines[-1]["more"] == 0
	END
	vmbox --rw w:/w --audit w/audit /bin/true
	[ "$status" -eq 125 ]
	[[ $stderr == *"--audit w/audit: the guest could change it (--rw w:/w)"* ]]
	[ ! -e w/audit ]
	status=0
	echo kept >log
	"${command[@]}" --audit log /bin/true >>log 2>err || status=$?
	[ "$status" -eq 125 ]
	[ "$(cat log)" = kept ]
	grep -- "--audit log: it is the program's stdout, too" err
	"${command[@]}" --audit log /bin/true 2>>log && return 1
	[[ $(cat log) == kept$'\n'"vmbox: --audit log: it is the program's stderr, too"* ]]
	vmbox --rw w:/w --audit /dev/full /bin/sh -c 'echo x >/w/x; echo y >/w/y'
	[ "$status" -eq 125 ]
	[[ $stderr == *"--audit: cannot be written: No space left on device"* ]]
	[ ! -e w/y ]
}

@test "fs: what is mounted beneath a rule's path is shown by a rule of its own" {
	mkdir -p data/m
	mount -t tmpfs x data/m
	mkdir data/m/sub
	echo mounted >data/m/f
	vmbox --ro data:/data /bin/sh -c 'cat /data/m/f'
	[ "$status" -ne 0 ]
	[[ $stderr == *'refused: lookup of "/data/m": --ro data:/data: the host has something mounted there: give that a rule of its own'* ]]
	vmbox --ro data:/data --rw data/m:/data/m /bin/sh -c 'cat /data/m/f; echo new >/data/m/new; ls /data'
	[ "$status" -eq 0 ]
	[ "$output" = $'mounted\nm' ]
	[ "$(cat data/m/new)" = new ]
	vmbox --ro data:/data --ro data/m:/data/m /bin/cat /data/m/f # the same access: not the same files
	[ "$status" -eq 0 ]
	[ "$output" = mounted ]
	vmbox --ro data:/data --ro data/m/sub:/data/m/sub /bin/true
	umount data/m
	[ "$status" -eq 125 ]
	[[ $stderr == *"--ro data/m/sub:/data/m/sub: /data/m/sub: the host has something mounted on the way there, which no rule shows: give that a rule of its own, too"* ]]
}

@test "fs: denials are said once, and not without end" {
	vmbox /bin/sh -c 'for i in $(seq 40); do echo x >/usr/x$i; echo x >/usr/x$i; done'
	[ "$(grep -c 'vmbox: refused: create of "/usr/x' <<<"$stderr")" -eq 16 ]
	[ "$(grep -c 'vmbox: refused: create of "/usr/x1"' <<<"$stderr")" -eq 1 ]
	[[ $stderr == *"there may be more: see --audit FILE"* ]]
}
