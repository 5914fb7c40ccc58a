package sweep

import "codexgateway.dev/pkg/job"

// Load is the live work that one sweep saw.
type Load struct {
	// Short and Long are the jobs of the two lanes.
	Short, Long Lane
	// Cancels are wishes that nobody has settled.
	Cancels int
	// Unknown is true when a query failed: there may be more.
	Unknown bool
}

// Lane is the live work of one lane.
type Lane struct {
	// Queued jobs may be claimed; they are counted up to [Sweeper.Count] over
	// both lanes.
	Queued int
	// Running jobs are under a lease.
	Running int
	// Workers are those that hold the leases, with the number of theirs.
	Workers map[string]int
}

// Live reports whether there is, or may be, anything that can need a repair
// soon.
func (l *Load) Live() bool {
	return l.Unknown || l.Cancels > 0 || l.Short.Queued+l.Short.Running+l.Long.Queued+l.Long.Running > 0
}

func (l *Load) lane(j *job.Job) *Lane {
	if j.Lane == job.LaneLong {
		return &l.Long
	}
	return &l.Short
}

func (l *Load) queued(j *job.Job) { l.lane(j).Queued++ }

func (l *Load) running(j *job.Job) {
	lane := l.lane(j)
	lane.Running++
	if j.Lease == nil {
		return
	}
	if lane.Workers == nil {
		lane.Workers = map[string]int{}
	}
	lane.Workers[j.Lease.Worker]++
}
