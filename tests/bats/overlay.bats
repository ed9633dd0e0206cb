#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# What becomes of an overlay's changes: discard is in fs.bats; here they are listed or committed.
load helpers

# A tree, and a script that changes it in every way there is.
make_tree() { # directory
	mkdir -p "$1"/{same,merged/deep,gone/sub,again/sub,opaque,swap,ro,$'odd \n\x01\xe9"\\'}
	for f in same/f merged/f merged/deep/f gone/sub/f again/f again/sub/f opaque/old swap/f ro/f f g mode old link-to opened $'odd \n\x01\xe9"\\/f'; do
		echo "$f" >"$1/$f"
	done
	ln -s f "$1/link"
	ln -s nowhere "$1/relink"
	echo x >"$1/file-to-dir"
	mkdir "$1/dir-to-file" && echo y >"$1/dir-to-file/y"
	chmod 555 "$1/ro"
}

cat_script() {
	cat <<-'END'
		umask 022
		echo more >>f                              # changed in place
		echo new >new && mkdir -p n/e/w && echo deep >n/e/w/f
		rm g && echo other >g                      # in place of a removed name
		rm old; rm -r gone
		rm -r again; mkdir again; echo again >again/new
		rm -r opaque; mkdir -m 700 opaque; echo old >opaque/new
		chmod 600 mode; chmod 711 merged/deep
		mv same moved
		mv merged/f merged/deep/g
		ln -sf elsewhere relink; ln -s "$(printf 'a\nb')" newlink; rm link
		rm file-to-dir; mkdir file-to-dir; echo in >file-to-dir/in
		rm -r dir-to-file; echo file >dir-to-file
		rm -r swap; ln -s merged swap
		chmod 755 ro; echo x >ro/new; rm ro/f; chmod 555 ro
		: 3<>opened                                # copied up, and nothing else
		echo x >temporary; rm temporary
		truncate -s 3M sparse; echo end >>sparse
		head -c 300000 /dev/urandom >random.$$; mv random.$$ random; rm random
		seq 30000 >seq; touch -d @1000000000 seq
		echo s >'-n *?$(x)'; cd odd*; echo more >>f; echo n >"$(printf 'n\t\033[2J\351')"
	END
}

listing() { # directory
	(cd "$1" && find . -printf '%P|%y|%m|%l\0' | LC_ALL=C sort -z | tr '\0' '\n' && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

@test "overlay: a commit makes of the host's files what the program makes without vmbox" {
	make_tree w
	make_tree native
	cat_script >script
	(cd native && sh -e ../script)
	vmbox --overlay w:/w --on-exit commit --ro script --cwd /w /bin/sh -e "$T/script"
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	diff <(listing native) <(listing w)
	[ "$(stat -c %Y w/seq)" -eq 1000000000 ]
	[ "$(stat -c %b w/sparse)" -lt 100 ]
	[ "$(find w ! -uid 0 -o -name '.vmbox*' | wc -l)" -eq 0 ]
}

@test "overlay: a diff lists it, and the host's files stay as they are" {
	make_tree w
	cat_script >script
	before=$(listing w)
	vmbox --overlay w:/w --on-exit diff --ro script --cwd /w /bin/sh -e -c '. '"$T"'/script; echo last >&2; exit 7'
	[ "$status" -eq 7 ]
	[ "$(listing w)" = "$before" ]
	cat >want <<-'END'
		last
		vmbox: diff: A "/w/-n *?$(x)"
		vmbox: diff: D "/w/again/f"
		vmbox: diff: A "/w/again/new"
		vmbox: diff: D "/w/again/sub"
		vmbox: diff: M "/w/dir-to-file"
		vmbox: diff: M "/w/f"
		vmbox: diff: M "/w/file-to-dir"
		vmbox: diff: A "/w/file-to-dir/in"
		vmbox: diff: M "/w/g"
		vmbox: diff: D "/w/gone"
		vmbox: diff: D "/w/link"
		vmbox: diff: M "/w/merged/deep"
		vmbox: diff: A "/w/merged/deep/g"
		vmbox: diff: D "/w/merged/f"
		vmbox: diff: M "/w/mode"
		vmbox: diff: A "/w/moved"
		vmbox: diff: A "/w/moved/f"
		vmbox: diff: A "/w/n"
		vmbox: diff: A "/w/n/e"
		vmbox: diff: A "/w/n/e/w"
		vmbox: diff: A "/w/n/e/w/f"
		vmbox: diff: A "/w/new"
		vmbox: diff: A "/w/newlink"
		vmbox: diff: M "/w/odd \012\001\351\042\134/f"
		vmbox: diff: A "/w/odd \012\001\351\042\134/n\011\033[2J\351"
		vmbox: diff: D "/w/old"
		vmbox: diff: M "/w/opaque"
		vmbox: diff: A "/w/opaque/new"
		vmbox: diff: D "/w/opaque/old"
		vmbox: diff: M "/w/relink"
		vmbox: diff: D "/w/ro/f"
		vmbox: diff: A "/w/ro/new"
		vmbox: diff: D "/w/same"
		vmbox: diff: A "/w/seq"
		vmbox: diff: A "/w/sparse"
		vmbox: diff: M "/w/swap"
	END
	diff want <(echo "$stderr")
}

@test "overlay: a diff that is too long is cut short, and says so" {
	mkdir w
	vmbox --overlay w:/w --on-exit diff /bin/sh -ec '
		ones=$(printf "\001%.0s" $(seq 240))
		for i in $(seq 1200); do : >/w/$ones$i; done'
	[ "$status" -eq 0 ]
	[ "$(wc -c <<<"$stderr")" -le $((1024 * 1024 + 100)) ]
	shown=$(grep -c '^vmbox: diff: A "/w/\\001' <<<"$stderr")
	[ "$shown" -gt 1000 ]
	[ "$(tail -n 1 <<<"$stderr")" = "vmbox: diff: and $((1200 - shown)) more" ]
}

@test "overlay: nothing is committed but after success" {
	mkdir w
	echo old >w/f
	vmbox --overlay w:/w --on-exit commit /bin/sh -c 'echo new >/w/f; exit 3'
	[ "$status" -eq 3 ]
	[ "$stderr" = "vmbox: nothing was committed: the program has to end by itself, with status 0" ]
	vmbox --overlay w:/w --on-exit commit /bin/sh -c 'echo new >/w/f; kill -9 $$'
	[ "$status" -eq 137 ]
	[[ $stderr == *"nothing was committed"* ]]
	vmbox --overlay w:/w --on-exit commit --wall 5s /bin/sh -c 'echo new >/w/f; sleep 100'
	[ "$status" -eq 124 ]
	[[ $stderr == *"the time limit is over"*"nothing was committed"* ]]
	status=0
	"${command[@]}" --overlay w:/w --on-exit commit /bin/sh -c 'echo new >/w/f; echo lost' >/dev/full 2>err || status=$?
	cat err
	[ "$status" -eq 125 ]
	grep 'stdout: bytes were lost' err
	grep 'nothing was committed' err
	[ "$(cat w/f)" = old ]
}

@test "overlay: what cannot be committed whole is not begun" {
	mkdir w
	vmbox --overlay w:/w --on-exit commit /bin/sh -c 'echo x >/w/f; mkfifo /w/pipe'
	[ "$status" -eq 125 ]
	[ "${stderr_lines[0]}" = "vmbox: commit: neither file, directory nor link: /w/pipe" ]
	[[ ${stderr_lines[1]} == "vmbox: nothing was committed"* ]]
	[ -z "$(ls -A w)" ]
	# It fits into the overlay, but each name takes of the quota as well.
	vmbox --overlay w:/w --quota 64K --on-exit commit /bin/sh -ec 'for i in 1 2 3 4 5 6 7 8 9; do echo x >/w/$i; done'
	[ "$status" -eq 125 ]
	[[ ${stderr_lines[0]} == "vmbox: commit: more than the quota: /w/9" ]]
	[ -z "$(ls -A w)" ]
	vmbox --overlay w:/w --quota 64K --on-exit commit /bin/sh -ec 'for i in 1 2 3 4 5 6 7 8; do echo x >/w/$i; done'
	[ "$status" -eq 0 ]
	[ "$(ls w | wc -l)" -eq 8 ]
}

@test "overlay: a commit keeps to the rules inside of it" {
	mkdir -p w/.git/hooks w/ro w/rw w/two w/diff other
	echo secret >w/.git/hooks/h
	echo secret >w/key
	echo old >w/ro/f
	inside=(--overlay w:/w --on-exit commit --deny w/.git/hooks --deny w/key --ro w/ro --rw w/rw --overlay w/two --on-exit commit --quota 1M
		--overlay w/diff --on-exit diff --overlay other:/other --on-exit commit)
	vmbox "${inside[@]}" --audit audit /bin/sh -c 'cd /w; echo x >.git/x; echo x >rw/x; echo x >two/x; echo x >diff/x; echo x >ro/f; echo x >x; echo x >/other/x'
	[ "$status" -eq 0 ]
	[[ $stderr == *'vmbox: diff: A "/w/diff/x"'* ]]
	[ "$(cat other/x)" = x ]
	(cd w && find . -type f | sort | tr '\n' ' ') >found
	[ "$(cat found)" = "./.git/hooks/h ./.git/x ./key ./ro/f ./rw/x ./two/x ./x " ]
	[ "$(cat w/ro/f w/key)" = $'old\nsecret' ]
	cat audit
	grep -q '"event": "rename", .*"to": "/w/two/x", "rule": "--overlay w/two"' audit
	grep -q '"event": "rename", .*"to": "/other/x", "rule": "--overlay other:/other"' audit
	# Names that the overlay lets the program have, and remove, are not to be had on the host.
	vmbox "${inside[@]}" /bin/sh -c 'echo mine >/w/key'
	[ "$status" -eq 125 ]
	[[ $stderr == *"vmbox: commit: /w/key: Permission denied"*"the commit was not finished: part of the changes may be in the host's files"* ]]
	vmbox "${inside[@]}" /bin/sh -c 'rm -r /w/.git'
	[ "$status" -eq 125 ]
	[[ $stderr == *"vmbox: commit: /w/.git: Device or resource busy"* ]]
	[ "$(cat w/key w/.git/hooks/h)" = $'secret\nsecret' ]
}

@test "overlay: an unfinished commit says so, whatever ended it" {
	mkdir w
	mkfifo audit
	exec {reader}<>audit # never reads: the file server waits for that
	start --overlay w:/w --on-exit commit --audit audit /bin/sh -c 'for i in $(seq 600); do echo x >/w/$i; done'
	eventually [ -e w/111 ]
	kill "$pid"
	finish
	exec {reader}<&-
	[ "$status" -eq 143 ]
	grep "the commit was not finished: part of the changes may be in the host's files" err
	n=$(ls w | wc -l)
	[ "$n" -gt 10 ]
	[ "$n" -lt 600 ]
}

@test "overlay: an ordinary user's commit is the user's" {
	[ "$UID" -eq 0 ] || skip "needs root to become others"
	mkdir w
	echo old >w/f
	echo roots >w/r
	chown 1234:1235 . w w/f
	chmod 755 .
	chmod 666 /dev/vmbox
	run --separate-stderr setpriv --reuid 1234 --regid 1235 --clear-groups "${command[@]}" --overlay w:/w --on-exit commit /bin/sh -ec \
		'cd /w; echo new >f; mkdir d; echo x >d/g; rm r'
	show
	chmod 600 /dev/vmbox
	[ "$status" -eq 0 ]
	[ "$(stat -c '%u %g' w/* w/d/g | sort -u)" = "1234 1235" ]
	[ "$(cat w/f)" = new ]
	[ ! -e w/r ]
}
