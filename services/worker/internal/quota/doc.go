// Package quota watches how much disk a job's directories take and says when it
// is too much.
//
// The kernel bounds one file (package jail) and the file system bounds all jobs
// together; what one job takes in many files nothing bounds where project
// quotas cannot be had, so [Watch] counts. It guarantees that counting costs at
// most a twentieth of one CPU, or a fifth while the disk fills fast, that it
// follows no link out of the directories, and that it stops at the limit: what
// lies beyond is not counted. It finds a job that is over its limit after the
// fact; how far after is in docs/operations.md. A file that was deleted while a
// process holds it open, and a directory that is closed to the worker's user,
// are not seen.
//
// The runner watches each job from the moment it has a slot until its turn is
// over.
package quota
