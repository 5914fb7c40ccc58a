package check

// Run judges a campaign.
func Run(in *Input) *Report {
	r := &Report{
		JobsByState: map[string]int{}, FailuresByCode: map[string]int{}, Violations: map[Rule]int{}, Findings: map[Rule][]string{},
		Watchers: len(in.Watchers), Probes: len(in.Probes),
	}
	for _, rule := range Rules() {
		r.Violations[rule] = 0
	}
	jobs := make(map[string]*Job, len(in.Jobs))
	for i := range in.Jobs {
		jobs[in.Jobs[i].ID] = &in.Jobs[i]
	}
	r.keys(in, jobs)
	logs := make(map[string]*log, len(jobs))
	for id, j := range jobs {
		logs[id] = r.job(j)
	}
	for i := range in.Watchers {
		w := &in.Watchers[i]
		r.Reconnects += w.Reconnects
		r.EventsDelivered += len(w.Seen)
		r.watcher(w, logs[w.JobID])
	}
	for _, p := range in.Probes {
		if _, ended := terminal[p.Status]; !ended {
			r.found(Overlap, 1, "%s had begun while %s before it was %s", p.Later, p.Earlier, p.Status)
		}
	}
	return r
}

// keys checks that each key has one job and that each accepted job is there.
func (r *Report) keys(in *Input, jobs map[string]*Job) {
	listed := make(map[string]string, len(in.Listed))
	byKey := map[string][]string{}
	for _, l := range in.Listed {
		if _, twice := listed[l.ID]; twice {
			r.found(Disagreeing, 1, "job.list has %s twice", l.ID)
			continue
		}
		listed[l.ID] = l.Status
		byKey[l.Key] = append(byKey[l.Key], l.ID)
	}
	for _, s := range in.Submits {
		ids := map[string]bool{}
		for _, id := range byKey[s.Key] {
			ids[id] = true
		}
		for _, id := range s.Answers {
			ids[id] = true
		}
		if len(ids) > 1 {
			r.found(Idempotency, len(ids)-1, "key %s has %d jobs: %v", s.Key, len(ids), ids)
		}
		if len(s.Answers) == 0 {
			continue
		}
		r.Resubmits += len(s.Answers) - 1
		r.JobsAccepted++
		id := s.Answers[0]
		j := jobs[id]
		if j == nil || !j.Found {
			r.found(Lost, 1, "accepted job %s is unknown to job.get", id)
		}
		status, there := listed[id]
		switch {
		case !there:
			r.found(Lost, 1, "accepted job %s is not in job.list", id)
		case j != nil && j.Found && status != j.Status:
			r.found(Disagreeing, 1, "job.list says that %s is %s, job.get says %s", id, status, j.Status)
		}
	}
}

// log is a job's log as the rest is compared with.
type log struct {
	hashes map[int64]uint64
	last   int64
}

// job checks that a job has ended once and that its log says the same.
func (r *Report) job(j *Job) *log {
	l := &log{hashes: make(map[int64]uint64, len(j.Log))}
	if !j.Found {
		return l
	}
	r.JobsByState[j.Status]++
	if j.Status == "failed" {
		r.FailuresByCode[j.Failure]++
		if j.Failure == internal {
			r.found(Blamed, 1, "job %s failed with %s", j.ID, j.Failure)
		}
	}
	if j.Unreadable != "" {
		r.found(Lost, 1, "the log of %s cannot be read: %s", j.ID, j.Unreadable)
		return nil
	}
	r.EventsInLogs += len(j.Log)
	r.sequence("the log of "+j.ID, j.Log)
	for _, e := range j.Log {
		l.hashes[e.Seq] = e.Hash
		l.last = max(l.last, e.Seq)
	}
	want, ended := terminal[j.Status]
	if !ended {
		r.found(Unterminated, 1, "job %s is %s", j.ID, j.Status)
		return l
	}
	if len(j.Log) == 0 || !ends(j.Log[len(j.Log)-1].Type) {
		r.found(Unterminated, 1, "the log of %s, which is %s, has no end after %d events", j.ID, j.Status, len(j.Log))
		return l
	}
	if got := j.Log[len(j.Log)-1].Type; got != want {
		r.found(Disagreeing, 1, "job %s is %s but its log ends with %s", j.ID, j.Status, got)
	}
	if j.LastSeq != l.last {
		r.found(Disagreeing, 1, "job %s has last_seq %d, its log has %d", j.ID, j.LastSeq, l.last)
	}
	return l
}

// sequence checks that events are 1, 2, 3 … once each, and nothing after an end.
// It returns the highest seq.
func (r *Report) sequence(who string, seen []Event) int64 {
	var last int64
	missing := map[int64]bool{}
	ended := ""
	for _, e := range seen {
		if ended != "" {
			r.found(EndedTwice, 1, "%s: event %d %s after %s", who, e.Seq, e.Type, ended)
		}
		if ends(e.Type) {
			ended = e.Type
		}
		switch {
		case e.Seq > last:
			for gap := last + 1; gap < e.Seq; gap++ {
				missing[gap] = true
			}
			last = e.Seq
		case missing[e.Seq]:
			delete(missing, e.Seq)
			r.found(Reordered, 1, "%s: event %d came after %d", who, e.Seq, last)
		default:
			r.found(Doubled, 1, "%s: event %d came again after %d", who, e.Seq, last)
		}
	}
	if len(missing) > 0 {
		r.found(Lost, len(missing), "%s: %d events before %d never came", who, len(missing), last)
	}
	return last
}

// watcher compares what a watcher was told with the log.
func (r *Report) watcher(w *Watcher, l *log) {
	who := "a watcher of " + w.JobID + " by " + w.Transport
	if w.Misread != "" {
		r.found(Disagreeing, 1, "%s: %s", who, w.Misread)
	}
	last := r.sequence(who, w.Seen)
	if l == nil {
		return // the job or its log is lost, which is said already
	}
	if last < l.last {
		r.found(Lost, int(l.last-last), "%s: has %d of %d events", who, last, l.last)
	}
	altered, unknown := 0, 0
	var first int64
	for _, e := range w.Seen {
		hash, there := l.hashes[e.Seq]
		switch {
		case !there:
			unknown++
		case hash != e.Hash:
			if altered++; first == 0 {
				first = e.Seq
			}
		}
	}
	if altered > 0 {
		r.found(Altered, altered, "%s: %d events are others in the log, the first is %d", who, altered, first)
	}
	if unknown > 0 {
		r.found(Lost, unknown, "%s: %d events are not in the log", who, unknown)
	}
}
