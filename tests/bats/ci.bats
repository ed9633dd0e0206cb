#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
# bats file_tags=one-machine
# The examples of docs/ci.md (scripts/ci), each driven as its own program would drive it.
load helpers

ci=$TREE/scripts/ci
export VMBOX_GUEST_DIR=$GUEST PATH=$TREE/build/runtime:$ci:$PATH
export GIT_CONFIG_GLOBAL=/dev/null GIT_{AUTHOR,COMMITTER}_{NAME,EMAIL}=test@example.com

# A repository with the file Makefile, which says `made`, in directory $1.
repository() {
	git init -q -b main "$1"
	printf 'all:\n\t@echo made | tee made\n' >"$1/Makefile"
	git -C "$1" add Makefile
	git -C "$1" commit -q -m first
}

# ---- GitLab Runner ----

# The commands of gitlab-config.toml, as arrays: $config, $prepare, $run, $cleanup.
commands() {
	/usr/bin/python3 - "$ci" "$T/jobs" <<-'END'
		import shlex, sys, tomllib
		ci, jobs = sys.argv[1:]
		custom = tomllib.load(open(ci + "/gitlab-config.toml", "rb"))["runners"][0]["custom"]
		for verb in "config", "prepare", "run", "cleanup":
		    words = shlex.join([custom[verb + "_exec"]] + custom[verb + "_args"])
		    print(verb + "=(" + words.replace("/usr/local/libexec/vmbox/ci", ci).replace("/srv/vmbox-ci", jobs) + ")")
	END
}

# Runs one of them, as the runner does: in its temporary directory, in a process group of its own,
# with the job's variables under a prefix.
executor() { # config|prepare|run|cleanup [argument…]
	local -n words=$1
	shift
	(cd "$tmp" && exec env "${job_env[@]}" TMPDIR="$tmp" JOB_RESPONSE_FILE="$tmp/response.json" \
		BUILD_FAILURE_EXIT_CODE=41 SYSTEM_FAILURE_EXIT_CODE=42 BUILD_EXIT_CODE_FILE="$tmp/exit_code" \
		CUSTOM_ENV_CI=true CUSTOM_ENV_CI_PROJECT_DIR="$project" CUSTOM_ENV_LD_PRELOAD=/nonexistent \
		CUSTOM_ENV_VMBOX_JOB=/ CUSTOM_ENV_JOB_RESPONSE_FILE=/dev/null \
		setsid "${words[@]}" "$@")
}

# A script as the runner generates it: the job's variables, the project's directory, the commands.
stage() { # name commands
	local script status=0
	script=$(mktemp -d "$tmp/scriptXXXXXX")/script.
	printf '#!/usr/bin/env bash\n\ntrap exit 1 TERM\n\nif set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\nset +o noclobber\n: | eval %q\nexit 0\n' \
		"export CI=true CI_BUILDS_DIR=$builds CI_PROJECT_DIR=$project"$'\n'"$2" >"$script"
	chmod 700 "$script"
	executor run "$script" "$1" || status=$?
	echo "stage $1: $status"
	return $status
}

# Prepares job $1, whose response has $2 added; then $tmp, $builds, $project and $job_env are the job's.
job() {
	tmp=$(mktemp -d "$T/custom-executorXXXXXX") job_env=() project=
	mkdir -p "$T/jobs"
	eval "$(commands)"
	jq -n --argjson id "$1" --arg url "file://$T/repo" --arg sha "$(git -C "$T/repo" rev-parse HEAD)" "{
		id: \$id, token: \"secret\", job_info: {project_id: 5},
		git_info: {repo_url: \$url, ref: \"main\", sha: \$sha, depth: 20,
			refspecs: [\"+refs/heads/main:refs/remotes/origin/main\"]}} + $2" >"$tmp/response.json"
	executor config >"$tmp/config.json" || return
	builds=$(jq -er .builds_dir "$tmp/config.json")
	[ "$(jq -r '.driver | .name + " " + .version' "$tmp/config.json")" = "$("$VMBOX" version)" ]
	mapfile -t job_env < <(jq -er '.job_env | to_entries[] | "\(.key)=\(.value)"' "$tmp/config.json")
	project=$builds/group/project
	executor prepare
}

good_job() {
	job 1001 '{}'
	# What may have been planted there before the sources come.
	stage prepare_script "echo 'Running on' \$(hostname); ln -s '$T/precious' '$builds/group'; ! cat '$T/secret'"
	stage get_sources "touch '$T/precious/a script ran'; export GIT_SSH_COMMAND='touch $T/precious/ssh'"
	[ -z "$(grep -r "$T/repo" "$project/.git")" ]
	stage restore_cache 'exit 1'
	stage build_script "cd $project
		make
		! cat '$T/secret' '$tmp/response.json' '$T'/jobs/1002/builds/group/project/Makefile
		printf '#!/bin/sh\ntouch $T/precious/hook' >.git/hooks/post-checkout || mkdir .git/hooks
		mkdir locked; touch locked/in; chmod 0 locked"
	stage after_script "cd $project; echo after \$(cat made)"
	stage cleanup_file_variables 'exit 1'
	[ -d "$T/jobs/1001" ]
	executor cleanup
}

# Its script fails, and what follows it in GitLab's order is done all the same.
failing_job() {
	local status=0
	job 1002 '{}'
	stage get_sources ''
	stage build_script "cd $project; touch left; exit 7" || status=$?
	[ $status = 41 ]
	[ "$(cat "$tmp/exit_code")" = 7 ]
	stage after_script "cd $project; ls left; exit 125" || status=$?
	[ $status = 41 ] # and not a failure of the system
	executor cleanup
}

# It is cancelled: SIGTERM to the group.
cancelled_job() {
	local i pid
	job 1003 '{}'
	stage build_script 'echo begun; sleep 1000' >"$T/cancelled.out" 2>&1 &
	pid=$!
	for ((i = 0; i < 900; i++)); do
		! grep -q begun "$T/cancelled.out" || break
		sleep 0.1
	done
	kill -TERM -- "-$(pgrep -o -f "gitlab-executor run .*$tmp.*build_script")"
	wait $pid || true
	grep 'stage build_script: 41' "$T/cancelled.out"
	executor cleanup
}

@test "ci: GitLab's runner: two jobs at once, one that fails, one that is cancelled" {
	repository repo
	mkdir precious
	echo confidential >secret
	(set -e; good_job) >good.out 2>&1 &
	good=$!
	(set -e; failing_job; cancelled_job) >others.out 2>&1 &
	others=$!
	wait $good || { cat good.out; wait $others; false; }
	wait $others || { cat others.out cancelled.out; false; }
	cat good.out
	grep '^Running on vmbox' good.out
	grep '^made' good.out
	grep '^after made' good.out
	[ -z "$(grep confidential good.out others.out)" ]
	[ -z "$(find precious jobs -mindepth 1)" ]
}

@test "ci: GitLab's runner: what is not offered is refused" {
	repository repo
	status=0
	job 1 '{artifacts: [{paths: ["x"]}], services: [{name: "redis"}], hooks: [{name: "pre_get_sources_script"}]}' 2>err || status=$?
	[ $status = 41 ]
	grep 'the job asks for: services, artifacts, hooks' err
	job_env=("VMBOX_JOB=$T/jobs/1") builds=$T/jobs/1/builds
	for project in "$T/precious" "$builds" "$builds/../../x" "$builds/./x" ''; do
		status=0
		stage get_sources '' || status=$?
		[ $status = 41 ]
	done
	status=0
	stage upload_artifacts_on_success '' || status=$?
	[ $status = 41 ]
	status=0
	gitlab-executor run a b || status=$? # without the runner's variables
	[ $status = 2 ]
}

# ---- GitHub Actions ----

# As the runner's ScriptHandler: `shell` is cut at its first space, {0} is the script's name.
step() { # script
	local shell file words
	shell=$(sed -n 's/^ *shell: //p' "$ci/github-workflow.yml")
	file=$(mktemp "$T/_temp/XXXXXX")
	printf '%s' "$1" >"$file"
	read -ra words <<<"${shell//'{0}'/$file}"
	(cd "$GITHUB_WORKSPACE" && exec "${words[@]}")
}

@test "ci: a step of GitHub Actions" {
	mkdir -p _temp/_runner_file_commands work
	repository work/project
	git -C work/project config http.extraheader 'AUTHORIZATION: confidential'
	export CI=true GITHUB_WORKSPACE=$T/work/project GITHUB_SHA=123 GITHUB_TOKEN=confidential ACTIONS_RUNTIME_TOKEN=confidential
	for name in OUTPUT STEP_SUMMARY ENV PATH STATE; do
		export "GITHUB_$name=$T/_temp/_runner_file_commands/$name"
		: >"$T/_temp/_runner_file_commands/$name"
	done
	run --separate-stderr step '
		make
		echo "sha=$GITHUB_SHA" >>"$GITHUB_OUTPUT"
		echo "# fine" >>"$GITHUB_STEP_SUMMARY"
		git describe --always
		echo "::set-output name=x::y"
		env | grep -i confidential || echo no tokens
		cat .git/config || echo hidden
		mkdir .git/hooks || touch .git/hooks/post-checkout || mv .git elsewhere || echo kept
		(echo LD_PRELOAD=x >>"$GITHUB_ENV") || echo no environment
		false | true
		echo not reached'
	show
	[ "$status" -eq 1 ]
	[ "$(cat work/project/made)" = made ]
	[ "$(cat "$GITHUB_OUTPUT")" = sha=123 ]
	[ "$(cat "$GITHUB_STEP_SUMMARY")" = "# fine" ]
	[ ! -s "$GITHUB_ENV" ]
	[[ ${lines[0]} =~ ^::stop-commands::([0-9a-f]{32})$ ]]
	[ "${lines[-1]}" = "::${BASH_REMATCH[1]}::" ]
	for line in made "no tokens" hidden kept "no environment"; do
		grep -x "$line" <<<"$output"
	done
	[[ $output != *"not reached"* && $output != *confidential* ]]
	grep -x "$(git -C work/project describe --always)" <<<"$output"
}

# ---- make, git bisect, batches ----

@test "ci: recipes of a Makefile" {
	printf 'include %s/vmbox.mk\nall: one\n\tfalse\none:\n\tuname -n >one\n' "$ci" >Makefile
	run -2 make
	echo "$output"
	[[ $output == *"all] Error 1"* ]]
	[ "$(cat one)" = vmbox ]
}

@test "ci: git bisect" {
	git init -q -b main r
	cd r
	# The fourth, which is asked first, cannot be tested; the sixth is the bad one, by a signal.
	for what in true true true 'exit 125' true 'kill -SEGV $$' false; do
		echo "rm test; $what" >./test
		git add test
		git commit -q --allow-empty -m "$what"
	done
	git tag first "$(git rev-list HEAD | tail -n 1)"
	git bisect start HEAD first
	run ! git bisect run vmbox-bisect --device /nonexistent -- /bin/sh ./test
	[[ $output == *"bisect run failed"* ]]
	[ "$(git bisect log | grep -c '^git bisect')" -eq 1 ]
	run -0 git bisect run vmbox-bisect -- /bin/sh ./test
	echo "$output"
	[[ $output == *"is the first bad commit"* ]]
	git bisect log
	[ "$(git log -1 --format=%s refs/bisect/bad)" = 'kill -SEGV $$' ]
	git bisect log | grep '# skip: .*exit 125'
	git diff --exit-code
}

@test "ci: a batch, at most two at a time" {
	mkdir programs results running
	for i in 1 2 3 4; do
		printf '#!/bin/sh\ntouch running/%d\nls running | wc -l\nsleep 1\nrm running/%d\nexit %d\n' $i $i $i >"programs/$i"
		chmod +x "programs/$i"
	done
	{ ls "$PWD"/programs/*; echo /nonexistent; } | vmbox-batch 2 results --rw running
	for i in 1 2 3 4; do
		[ "$(cat "results/$i.status")" -eq $i ]
		[ "$(cat "results/$i.out")" -le 2 ]
	done
	[ "$(cat results/5.status)" -eq 127 ]
	run -125 vmbox-batch 2 nonexistent </dev/null
}
