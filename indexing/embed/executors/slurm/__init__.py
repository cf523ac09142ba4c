"""The loop in array jobs of SLURM.

A submission is a folder in the gallery, `slurm/<name>/`, that all machines see. Its name is also the name of its SLURM
jobs:

    submission.json   what the tasks load, how many there are, and what earlier rounds have done
    jobs.json         the part and the spaces of each job
    template.sh       the batch script that the user gave; task.sh and last.sh are made from it
    beats/<owner>     one file per running task, which renews it; it is the lease on all that the task has claimed
    claims/<job>.<n>  a symbolic link whose target is the owner; n counts the tasks that have begun the job
    ended/<job>.json  how a job ended

Claims only save work. What a task writes is an attempt with a unique name, and who holds the gallery's lock accepts one
attempt for each part. So a task that has lost its lease, but still lives, can do no harm.
"""
