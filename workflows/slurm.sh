#!/bin/bash
#SBATCH --cpus-per-task=4 --mem=8G --time=04:00:00
# One task for each slide; a task that is repeated goes on where it was stopped:
#
#   sbatch --array=1-$(ls slides | wc -l) slurm.sh slides results default
set -euo pipefail
slide=$(ls -d "$1"/* | sed -n "${SLURM_ARRAY_TASK_ID}p")
pixnet-sd run "$slide" --model "$3" --out "$2/$SLURM_ARRAY_TASK_ID" --nuclei --expand-um 5
