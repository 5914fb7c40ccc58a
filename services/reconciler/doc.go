// Package reconciler is the service that repairs what a crash left: queued jobs
// nobody was told of, running jobs whose worker is gone, closed logs without
// their archive, claims past their time.
//
// It guarantees nothing on its own account: every step is a compare-and-set of
// the job domain, so any number of reconcilers may run, and none is needed for
// a job that meets no fault. On a platform that can start workers it also has
// one started for each long job, and keeps a pool of workers as large as the work
// at hand. A gateway without work costs it two queries at a long interval, and
// no write.
package reconciler
