#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# Reports: of every kind of end that limits.bats, errors.bats and fs.bats do not have anyway.
load helpers

verify() { # [OPTION...] FILE
	run --separate-stderr "$VMBOX" report verify "$@"
	show
}

# A copy of r.json, changed by Python; with its digest computed anew if asked.
change() { # new|old STATEMENT
	python3 - "$@" >changed.json <<-'END'
		import hashlib, json, sys
		r = json.load(open("r.json"))
		exec(sys.argv[2])
		if sys.argv[1] == "new":
		    r.pop("digest", None)
		    r["digest"] = hashlib.sha256(json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
		json.dump(r, sys.stdout)
	END
}

@test "report: a run's, and what verify says of it and of changed ones" {
	cp "$GUESTS/hello" program
	cat >script <<-END
		#!/bin/sh
		cat; echo x >"/usr/caf$(printf '\303\251')"; echo x >"/usr/$(printf '\377')"; exit 124
	END
	chmod 755 . script program
	local options=(--ro "$T" --memory 300M)
	run --separate-stderr timeout 120 "${command[@]}" "${options[@]}" --report r.json --stats ./script <<<hello
	show
	[ "$status" -eq 124 ]
	[ "$output" = hello ]
	[[ $stderr == *"vmbox: stats: ended by exited; "*" exits, "*" shadow faults"*"stdin 6, stdout 6,"*"; 2 refused"* ]]
	[ "$(reason r.json)" = "exited 124" ]
	python3 - "$T" "$GUEST" <<-'END'
		import hashlib, json, subprocess, sys
		r = json.load(open("r.json"))
		sha = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
		assert r["code"] == 124 and r["signal"] is None
		assert r["program"] == {"path": sys.argv[1] + "/script", "sha256": sha("script")}, r["program"]
		assert r["kernel"]["sha256"] == sha(sys.argv[2] + "/vmlinux") and r["initrd"]["sha256"] == sha(sys.argv[2] + "/initrd")
		assert r["bytes"]["stdin"] == {"to_guest": 6, "to_host": 0} and r["bytes"]["stdout"]["to_host"] == 6
		assert r["bytes"]["files"]["to_guest"] > 100000 and r["bytes"]["files_rw"]["to_guest"] == 0
		assert [(d["op"], d["path"]) for d in r["denied"]["files"]] == [("create", "/usr/caf\u00e9"), ("create", "/usr/?")], r["denied"]
		assert r["exits"]["total"] > 500 and r["shadow_faults"]["fixed"] > 100
		t, m = r["times"], r["memory"]
		assert 0 < t["boot_us"] < t["wall_us"] and 0 < t["setup_us"] and t["user_us"] + t["system_us"] > 0
		assert m["guest_bytes"] == 300 << 20 and 10 << 20 < m["vmm_peak_bytes"] < 400 << 20
		assert r["guest_says"]["peak_bytes"] > 0
		digest = r.pop("digest")
		assert digest == hashlib.sha256(json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
	END
	verify "${options[@]}" r.json
	[ "$status" -eq 0 ]
	[[ $output == *"digest: right"*"reason: exited"*"sums: right"*"policy: the same"*"vmlinux: the same"*"script: the same"* ]]
	verify --ro "$T" r.json
	[ "$status" -eq 1 ]
	[[ $output == *"policy: DIFFERS"* ]]
	echo >>script
	verify r.json
	[ "$status" -eq 1 ]
	[[ $output == *"script: DIFFERS"* ]]
	rm script
	verify r.json
	[ "$status" -eq 0 ]
	[[ $output == *"script: No such file or directory"* ]]

	change old 'r["status"] = 0'
	verify changed.json
	[ "$status" -eq 1 ]
	[[ $output == *"digest: WRONG"*"reason: is not that of the status"* ]]
	for statement in 'r["reason"] = "wall"' 'r["code"] = 5' 'r["exits"]["by_reason"]["io"] += 1' 'r["times"]["boot_us"] = r["times"]["wall_us"]' \
		'r["reason"] = "tired"' 'r["program"] = {"path": "/bin/sh", "sha256": "0" * 64}' 'r["driver"]["srcversion"] = "?"'; do
		change new "$statement"
		verify changed.json
		[ "$status" -eq 1 ]
		[[ $output == "digest: right"* ]]
	done
	for statement in 'del r["times"]' 'r["schema"] = 2' 'r["times"]["wall_us"] = "long"' 'r["exits"]["by_reason"] = 3' 'r["program"] = None' \
		'r = [r]' 'r["digest"] = None' 'r["times"]["boot_us"] = -1'; do
		change old "$statement"
		verify changed.json
		[ "$status" -eq 125 ]
		[[ $stderr == "vmbox: report verify: changed.json: "* ]]
	done
	echo nothing >changed.json
	verify changed.json
	[ "$status" -eq 125 ]
}

@test "report: of what does not run" {
	echo text >text && chmod +x text
	for case in "not_found 127:./nosuch" "not_executable 126:./text" "policy 125:--policy nosuch ./text" \
		"failed 125:--device /dev/null /bin/true" "failed 125:--guest-dir /nonexistent /bin/true"; do
		read -ra args <<<"${case#*:}"
		vmbox --report r.json "${args[@]}"
		expected=${case%%:*}
		[ "$(reason r.json)" = "$expected" ]
		[ "$status" -eq "${expected#* }" ]
		verify r.json
		[ "$status" -eq 0 ]
	done
	[ "$(echo *)" = "r.json text" ]
}

@test "report: where it goes" {
	status=0
	"${command[@]}" --report - ./nosuch 3>three 2>err || status=$?
	[ "$status" -eq 127 ]
	[ "$(reason three)" = "not_found 127" ]
	[ "$(wc -l <err)" -eq 1 ]
	"${command[@]}" --report - ./nosuch 3>&- 2>err || true
	sed -n '/^{/,$p' err >two
	[ "$(reason two)" = "not_found 127" ]
	vmbox --report /nonexistent/r.json "$GUESTS/hello"
	[ "$status" -eq 125 ]
	[ -z "$output" ]
	[[ $stderr == "vmbox: --report /nonexistent/r.json: "* ]]
	vmbox --report /dev/null "$GUESTS/hello"
	[ "$status" -eq 125 ]
	vmbox --report - "$GUESTS/hello" 3</dev/null
	[ "$status" -eq 125 ]
	[[ $stderr == *"descriptor 3"* ]]
	# A link is replaced, not followed.
	echo mine >other && ln -s other r.json
	vmbox --report r.json ./nosuch
	[ "$(cat other)" = mine ]
	[ ! -L r.json ]
}

# Until the VMM and the file server are there.
all_processes() {
	[ "$(vmbox_processes | wc -l)" -ge 4 ]
}

@test "report: a signal to vmbox, also the one that it cannot see" {
	start --report "$T/r.json" /bin/sleep 100
	eventually all_processes
	kill -TERM "$pid"
	finish
	[ "$status" -eq 143 ]
	[ "$(reason r.json)" = "interrupted 143" ]
	verify r.json
	[ "$status" -eq 0 ]
	rm r.json
	start --report "$T/r.json" /bin/sleep 100
	eventually all_processes
	kill -KILL "$pid"
	wait "$pid" || true
	eventually test -s r.json
	[ "$(reason r.json)" = "killed null" ]
	verify r.json
	[ "$status" -eq 0 ]
	[[ $output == *"sleep: the same"* ]]
}
