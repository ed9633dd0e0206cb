#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# Reports: of every kind of end that limits.bats, errors.bats and fs.bats do not have anyway.
load helpers

verify() { # [OPTION...] FILE
	run --separate-stderr "$VMBOX" report verify "$@"
	show
}

# For the last test.
keep() { # FILE
	cp "$1" "$BATS_FILE_TMPDIR/$(reason "$1").json"
}

@test "report: a run's, and what verify says of it and of changed ones" {
	cat >script <<-END
		#!/bin/sh
		ln -s ../other w/r.json # is replaced, not followed
		cat; echo x >"/usr/caf$(printf '\303\251')"; echo x >"/usr/$(printf '\377')"; exit 124
	END
	mkdir w
	chmod 755 . script
	local options=(--ro "$T" --rw w --memory 300M)
	run --separate-stderr timeout 300 "${command[@]}" "${options[@]}" --report w/r.json --stats ./script <<<hello
	show
	[ ! -L w/r.json ] && [ ! -e other ]
	mv w/r.json r.json
	[ "$status" -eq 124 ]
	[ "$output" = hello ]
	[[ $stderr == *"vmbox: stats: ended by exited; "*" exits, "*" shadow faults"*"stdin 6, stdout 6,"*"; 2 refused"* ]]
	[ "$(reason r.json)" = "exited 124" ]
	keep r.json
	python3 - "$T" "$GUEST" <<-'END'
		import hashlib, json, subprocess, sys
		r = json.load(open("r.json"))
		sha = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
		assert r["code"] == 124 and r["signal"] is None
		assert r["program"] == {"path": sys.argv[1] + "/script", "sha256": sha("script")}, r["program"]
		assert r["kernel"]["sha256"] == sha(sys.argv[2] + "/vmlinux") and r["initrd"]["sha256"] == sha(sys.argv[2] + "/initrd")
		assert r["bytes"]["stdin"] == {"to_guest": 6, "to_host": 0} and r["bytes"]["stdout"]["to_host"] == 6
		assert r["bytes"]["files"]["to_guest"] > 100000 and r["bytes"]["files_rw"]["to_guest"] > 100
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

	# Without the kernel, which takes long to hash; "untrue" with the right digest.
	python3 - <<-'END'
		import hashlib, json
		def change(name, statements, digest):
		    for i, statement in enumerate(statements):
		        scope = {"r": json.load(open("r.json"))}
		        scope["r"]["kernel"] = {"path": None, "sha256": None}
		        exec(statement, scope)
		        r = scope["r"]
		        if digest:
		            del r["digest"]
		            r["digest"] = hashlib.sha256(json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
		        json.dump(r, open(f"{name}.{i}", "w"))
		change("true", ["pass"], True)
		change("changed", ['r["times"]["user_us"] += 1'], False)
		change("untrue", ['r["status"] = 0', 'r["reason"] = "wall"', 'r["code"] = 5', 'r["exits"]["by_reason"]["io"] += 1',
		    'r["times"]["boot_us"] = r["times"]["wall_us"]', 'r["reason"] = "tired"', 'r["driver"]["srcversion"] = "?"',
		    'r["program"] = {"path": "/bin/sh", "sha256": "0" * 64}'], True)
		change("none", ['del r["times"]', 'r["schema"] = 2', 'r["times"]["wall_us"] = "long"', 'r["exits"]["by_reason"] = 3',
		    'r["program"] = None', 'r = [r]', 'r["digest"] = None', 'r["times"]["boot_us"] = -1'], False)
	END
	verify true.0
	[ "$status" -eq 0 ]
	[[ $output == *"kernel: not in the report"* ]]
	verify changed.0
	[ "$status" -eq 1 ]
	[[ $output == "digest: WRONG"* ]]
	for file in untrue.*; do
		verify "$file"
		[ "$status" -eq 1 ]
		[[ $output == "digest: right"* ]]
	done
	echo nothing >none.text
	for file in none.*; do
		verify "$file"
		[ "$status" -eq 125 ]
		[[ $stderr == "vmbox: report verify: $file: "* ]]
	done
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
		keep r.json
	done
	verify r.json
	[ "$status" -eq 0 ]
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
	ln -s other r.json
	vmbox --report r.json ./nosuch
	[ "$status" -eq 125 ]
	[ ! -e other ]
}

# Until the VMM and the file server are there.
all_processes() {
	[ "$(vmbox_processes | wc -l)" -ge 4 ]
}

@test "report: a signal to vmbox, also the one that it cannot see" {
	start --report "$T/r.json" /bin/sh -c 'echo ready; exec sleep 100'
	eventually grep -q ready out
	kill -TERM "$pid" # the program has it, and ends
	finish
	[ "$status" -eq 143 ]
	[ "$(reason r.json)" = "signaled 143" ]
	keep r.json
	start --report "$T/r.json" /bin/sh -c 'trap "" INT; echo ready; while :; do sleep 0.1; done'
	eventually grep -q ready out
	kill -INT "$pid" # the program ignores it
	sleep 0.5
	kill -INT "$pid"
	finish
	[ "$status" -eq 130 ]
	[ "$(reason r.json)" = "interrupted 130" ]
	keep r.json
	start --report "$T/r.json" /bin/sleep 100
	eventually all_processes
	kill -KILL "$pid"
	wait "$pid" || true
	eventually test -s r.json
	[ "$(reason r.json)" = "killed null" ]
	keep r.json
	verify r.json
	[ "$status" -eq 0 ]
	[[ $output == *"sleep: the same"* ]]
}

@test "report: all of these are as the schema has it" {
	python3 - "$TREE/docs/report.schema.json" "$BATS_FILE_TMPDIR"/*.json <<-'END'
		import json, jsonschema, sys
		schema, *reports = (json.load(open(name)) for name in sys.argv[1:])
		assert len(reports) >= 6
		for report in reports: jsonschema.validate(report, schema)
		schema["properties"]["reason"] = {"const": "something"} # and it can say no
		assert not jsonschema.Draft202012Validator(schema).is_valid(reports[0])
	END
}
