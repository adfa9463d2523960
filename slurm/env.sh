# shellcheck shell=bash
# The one place for what every job needs: project folder, site, environment, caches, and what happens when it ends.
# The scripts of this folder source it; a setting made before, or in slurm/site.env, wins.

say() { printf '%s %s: %s\n' "$(date '+%F %T')" "job ${SLURM_JOB_ID:-?}" "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

# Project. SLURM runs a copy of the script, so the script cannot know where it came from.
export LLM_JAX_HOME="${LLM_JAX_HOME:-$SLURM_SUBMIT_DIR}"
[ -f "$LLM_JAX_HOME/slurm/env.sh" ] || fail "$LLM_JAX_HOME is not the project's folder: submit from there, or set LLM_JAX_HOME"
cd "$LLM_JAX_HOME" || exit 2

# Site: partition, account, modules, network. Optional, for all of it can come from the command line.
if [ -n "${LLM_JAX_SITE:-}" ] && [ ! -f "$LLM_JAX_SITE" ]; then
  fail "LLM_JAX_SITE=$LLM_JAX_SITE: no such file; copy slurm/site.env.example there, or unset it"
fi
site="${LLM_JAX_SITE:-$LLM_JAX_HOME/slurm/site.env}"
# shellcheck source=/dev/null
if [ -f "$site" ]; then source "$site"; fi

# Environment: .venv on the shared file system, made on the login node by `uv sync`, or here if it is not there yet or
# lacks JAX's plugin for the GPUs of the site (LLM_JAX_EXTRAS=cuda12). One job at a time makes it.
export UV_PROJECT_ENVIRONMENT="${UV_PROJECT_ENVIRONMENT:-$LLM_JAX_HOME/.venv}"
is_made() {
  [ -x "$UV_PROJECT_ENVIRONMENT/bin/python" ] || return 1
  local cuda="${LLM_JAX_EXTRAS:-}"
  [ -z "$cuda" ] || compgen -G "$UV_PROJECT_ENVIRONMENT/lib/python3*/site-packages/jax_${cuda}_plugin" >/dev/null
}
make_environment() {
  local sync="uv sync${LLM_JAX_EXTRAS:+ --extra $LLM_JAX_EXTRAS}"
  command -v uv >/dev/null || fail "no uv on $(hostname) to make $UV_PROJECT_ENVIRONMENT with: run \`$sync\` on the login node"
  $sync --quiet --inexact || fail "\`$sync\` failed: run it on the login node, where the network is open"
}
logs="$LLM_JAX_HOME/slurm/logs"
if [ ! -d "$logs" ] || [ ! -w "$logs" ]; then fail "$logs is not a folder that can be written to: it takes the logs and notes of jobs"; fi
{ flock 9 && { is_made || make_environment; }; } 9>"$logs/.environment.lock"
export PATH="$UV_PROJECT_ENVIRONMENT/bin:$PATH"

# Caches and JAX. XLA's flags are set by the program itself (llm_jax/backend.py).
[ -z "${LLM_JAX_OFFLINE:-}" ] || export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-4}}"
export PYTHONUNBUFFERED=1
ulimit -c 0 # JAX ends a process whose job is lost by a signal; its memory need not go to the disk

# How the processes of a step find each other, and what they tell this script (train/cluster/). Normally JAX's coordinator
# is found by itself; on a network that needs it, set JAX_COORDINATOR_ADDRESS=host:port.
export LLM_JAX_JOB="$logs/job-$SLURM_JOB_ID"
export LLM_JAX_HEARTBEAT_SECONDS="${LLM_JAX_HEARTBEAT_SECONDS:-100}"
rm -f "$LLM_JAX_JOB/stopped"

# python -m …, through the site's container if there is one: LLM_JAX_CONTAINER="apptainer exec --nv image.sif".
read -r -a container <<<"${LLM_JAX_CONTAINER:-}"
# shellcheck disable=SC2034 # for the scripts
python=("${container[@]}" python)

# end_or_requeue STATUS: the job ends, or goes back into the queue. 75 means saved on request, 143 that the request came
# before there was anything to save; 69, or another signal, that a process died. None of them for ever: what has not come
# to a new checkpoint in so many attempts in a row will not. Any other status is a mistake that would happen again.
end_or_requeue() {
  local status=$1 why attempts decided
  if [ "$status" -eq 0 ]; then rm -rf "$LLM_JAX_JOB"; say "complete"; exit 0; fi
  if [ -s "$LLM_JAX_JOB/stopped" ]; then
    read -r status why <"$LLM_JAX_JOB/stopped"
    say "stopped, not requeued: $why"
    exit "$status"
  fi
  case "$status" in
    75) why="saved on request" attempts=10 ;;
    143) why="asked to stop before it had begun" attempts=10 ;;
    69 | 1[3-9][0-9] | 12[89] | 2??) why="a process died (status $status)" attempts=3 ;;
    *) say "failed with status $status: not requeued"; exit "$status" ;;
  esac
  decided="$(decided_already)"
  if [ -n "$decided" ]; then say "$why: $decided"; exit "$status"; fi
  if [ "$(attempts_without_checkpoint)" -ge "$attempts" ]; then
    say "$why, and no new checkpoint in $attempts attempts: not requeued"
    exit "$status"
  fi
  say "$why: back into the queue"
  # After the death of a node SLURM may have been faster.
  scontrol requeue "$SLURM_JOB_ID" || squeue --noheader --jobs="$SLURM_JOB_ID" --states=PENDING | grep -q . ||
    fail "this cluster does not requeue jobs: submit the same command again, it goes on"
  sleep 60 # SLURM ends this script meanwhile
  exit "$status"
}

# What becomes of a job that is ending by another's will than this script's; empty if it is not. SLURM shows it as
# COMPLETING whatever the reason, which it names for limits. If SLURM requeues it, as after the death of a node, it has
# a restart more than this attempt knows of. If not, it is `scancel JOB`, which leaves this script half a minute: to
# requeue it now would bring it back against its user's will.
decided_already() {
  local job restarts=0
  job="$(scontrol --oneliner show job "$SLURM_JOB_ID" 2>/dev/null || true) "
  [[ $job =~ JobState=(CANCELLED|COMPLETING)\ Reason=None\  ]] || return 0
  if [[ $job =~ \ Restarts=([0-9]+)\  ]]; then restarts=${BASH_REMATCH[1]}; fi
  if [ "$restarts" -gt "${SLURM_RESTART_COUNT:-0}" ]; then
    echo "SLURM has put the job back into the queue"
  else
    echo "cancelled, so not requeued; submitted again, it goes on"
  fi
}

attempts_without_checkpoint() {
  local run newest attempts=0 last=""
  run="$(cat "$LLM_JAX_JOB/run" 2>/dev/null)"
  newest="$(find "${run:-.}/checkpoints" -maxdepth 1 -name '[0-9]*' -printf '%f\n' 2>/dev/null | sort | tail -n 1)"
  if [ -f "$LLM_JAX_JOB/attempts" ]; then read -r attempts last <"$LLM_JAX_JOB/attempts"; fi
  if [ "${newest:-none}" != "$last" ]; then attempts=0; fi
  mkdir -p "$LLM_JAX_JOB"
  echo "$((attempts + 1)) ${newest:-none}" >"$LLM_JAX_JOB/attempts"
  echo "$((attempts + 1))"
}
