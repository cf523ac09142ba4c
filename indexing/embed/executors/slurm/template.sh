#!/bin/bash
# What `diantu embed --executor slurm` submits. Change a copy of it, and give that with --slurm-template.
# diantu fills in the three names behind a dollar sign; write $$ for any other dollar sign. The last task, which commits
# and reports, is started from the same file without the line --array.
#SBATCH --array=$array
#SBATCH --output="$log"
#SBATCH --open-mode=append
#SBATCH --requeue
# Two minutes before the time limit a task takes no more shards, finishes what it can, and is queued again.
#SBATCH --signal=B:USR1@120

# Remove one # from what you need, and add what your cluster wants.
##SBATCH --partition=gpu
##SBATCH --time=04:00:00
##SBATCH --gpus-per-task=1
##SBATCH --cpus-per-task=8
##SBATCH --mem=32G

# `exec`, so that the signal reaches diantu.
exec $command
