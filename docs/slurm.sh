#!/usr/bin/env bash
# One part of a sweep per task of a SLURM job array. Parts count from 1, so the array does too:
#
#     sbatch --array=1-16 docs/slurm.sh grid.toml 16
#
# The second number is the count of parts. It stays the same when some parts are sent again:
#
#     sbatch --array=3,7 docs/slurm.sh grid.toml 16
#
#SBATCH --job-name=mubench
#SBATCH --output=mubench-%A_%a.log
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
# For GPUs: one per part, and mubench takes it.
##SBATCH --gres=gpu:1
set -euo pipefail
grid=$1 parts=$2

# The cache and the results are shared by all parts. The cache must be on a file system with locks.
export MUBENCH_CACHE=${MUBENCH_CACHE:-$HOME/.cache/mubench}
exec mubench sweep "$grid" --shard "$SLURM_ARRAY_TASK_ID/$parts" --out "${RESULTS:-results}"
