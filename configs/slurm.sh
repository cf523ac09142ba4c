#!/bin/bash
# What `diantu embed --executor slurm` submits. Copy it, change it, and give it with --slurm-template.
# diantu fills in the words that begin with a dollar sign and stand below: array, log and command. Write $$ for a
# dollar sign of your own. The last task, which commits and reports, is started from the same file without --array.
#SBATCH --array=$array
#SBATCH --output="$log"
#SBATCH --open-mode=append
#SBATCH --requeue
# Two minutes before the time limit a task takes no more shards, finishes what it can, and is queued again.
#SBATCH --signal=B:USR1@120

# One # more than SLURM wants: remove it from what you need.
##SBATCH --partition=gpu
##SBATCH --time=04:00:00
##SBATCH --gpus-per-task=1
##SBATCH --cpus-per-task=8
##SBATCH --mem=32G

# `exec`, so that the signal reaches diantu.
exec $command
