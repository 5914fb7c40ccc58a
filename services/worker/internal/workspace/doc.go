// Package workspace prepares the directory a job works in, says afterwards what
// the job changed, and packs and unpacks it.
//
// What it is given is hostile from three sides, and it guarantees that none of
// them executes anything in the worker or reaches beyond the directory: the
// repository's URL and ref come from a client (only vetted https, ssh and,
// where allowed, file URLs; the address is checked and pinned, redirects are
// refused), the repository's content from its server (no hooks, filters,
// submodules, templates or credential helpers; sizes are bounded before and
// while they are written), and the directory, afterwards, from the job. So
// [Workspace.Diff] never looks into the workspace's own .git, which the job may
// have replaced: Prepare keeps a second one where no job can write, with
// attributes that switch every conversion off, so that files are compared byte
// for byte. Git runs with an explicit environment and its own configuration.
//
// Submodules and Git LFS content are not fetched. Files belong to the worker's
// user; a worker that runs jobs as another user hands the directory over with
// the jail's Own after Prepare and after Restore. That changes every file's
// status time, and the first Diff then reads all files once instead of trusting
// the times.
//
// The runner of a job calls it; failures are *errs.Error with a job's code.
package workspace
