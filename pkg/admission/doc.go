// Package admission owns the running slots of tenants: how many jobs of one
// tenant may be in the queue of announced jobs, or run, at one time.
//
// A slot is a document of its own, numbered from 1 to the tenant's limit, and is
// written only in the commit that admits a job, hands the slot on or ends the
// job. So a limit holds whatever crashes, no slot is lost, and no document is
// written by more than one job at a time.
//
// Fair order follows from it. Announced jobs are served first in, first out,
// and each tenant has at most its limit of them: this is round robin over
// tenants, weighted by their limits. A tenant's admitted job starts after at
// most the sum of all limits, its own included, of other dispatches, however
// many jobs the others have stored.
//
// The job domain calls it; it knows nothing of jobs but their ids.
package admission
