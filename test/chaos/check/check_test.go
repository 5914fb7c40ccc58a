package check_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/test/chaos/check"
)

func event(seq int64, hash uint64, name string) check.Event {
	return check.Event{Seq: seq, Hash: hash, Type: name}
}

// good is a small campaign in which nothing went wrong.
func good() *check.Input {
	events := func(end string) []check.Event {
		return []check.Event{event(1, 11, "job.queued"), event(2, 12, "job.started"), event(3, 13, "codex"), event(4, 14, end)}
	}
	in := &check.Input{
		Submits: []check.Submit{
			{Key: "k1", Answers: []string{"job_1", "job_1"}}, {Key: "k2", Answers: []string{"job_2"}}, {Key: "k3"},
		},
		Jobs: []check.Job{
			{ID: "job_1", Key: "k1", Found: true, Status: "completed", LastSeq: 4, Log: events("job.completed")},
			{ID: "job_2", Key: "k2", Found: true, Status: "cancelled", LastSeq: 4, Log: events("job.cancelled")},
		},
		Listed: []check.Listed{{ID: "job_2", Key: "k2", Status: "cancelled"}, {ID: "job_1", Key: "k1", Status: "completed"}},
		Probes: []check.Probe{{Later: "job_2", Earlier: "job_1", Status: "completed"}},
	}
	for _, j := range in.Jobs {
		for _, t := range []string{"sse", "websocket"} {
			in.Watchers = append(in.Watchers, check.Watcher{JobID: j.ID, Transport: t, Seen: slices.Clone(j.Log), Reconnects: 2})
		}
	}
	return in
}

func TestAGoodCampaignPasses(t *testing.T) {
	t.Parallel()
	r := check.Run(good())
	if r.Failed() {
		t.Fatalf("failed: %v", r.Findings)
	}
	want := check.Report{
		JobsAccepted: 2, JobsByState: map[string]int{"completed": 1, "cancelled": 1}, FailuresByCode: map[string]int{}, EventsInLogs: 8,
		EventsDelivered: 16, Watchers: 4, Reconnects: 8, Resubmits: 1, Probes: 1,
	}
	got := *r
	got.Violations, got.Findings = nil, nil
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEachBrokenRuleIsReportedAndNoOther(t *testing.T) {
	t.Parallel()
	type counts = map[check.Rule]int
	for name, c := range map[string]struct {
		harm func(*check.Input)
		want counts
	}{
		"an accepted job is unknown": {func(in *check.Input) {
			in.Jobs[0] = check.Job{ID: "job_1", Key: "k1"}
			in.Watchers = in.Watchers[2:]
		}, counts{check.Lost: 1}},
		"an accepted job was never read": {func(in *check.Input) {
			in.Jobs, in.Watchers = in.Jobs[1:], in.Watchers[2:]
		}, counts{check.Lost: 1}},
		"an accepted job is not listed": {func(in *check.Input) { in.Listed = in.Listed[1:] }, counts{check.Lost: 1}},
		"a watcher misses one in the middle": {func(in *check.Input) {
			in.Watchers[0].Seen = slices.Delete(in.Watchers[0].Seen, 1, 2)
		}, counts{check.Lost: 1}},
		"a watcher misses the end": {func(in *check.Input) {
			in.Watchers[0].Seen = in.Watchers[0].Seen[:2]
		}, counts{check.Lost: 2}},
		"a watcher was told nothing": {func(in *check.Input) { in.Watchers[3].Seen = nil }, counts{check.Lost: 4}},
		"a watcher saw what the log does not have": {func(in *check.Input) {
			for i := range in.Jobs[0].Log {
				in.Jobs[0].Log[i].Seq--
			}
			in.Jobs[0].Log, in.Jobs[0].LastSeq = in.Jobs[0].Log[1:], 3
			in.Watchers = in.Watchers[:1]
			in.Watchers[0].Seen = []check.Event{event(1, 12, "job.started"), event(2, 13, "codex"), event(3, 14, "codex"), event(4, 15, "job.completed")}
		}, counts{check.Lost: 1}},
		"a log cannot be read": {func(in *check.Input) {
			in.Jobs[0].Log, in.Jobs[0].Unreadable = nil, "there is a gap"
		}, counts{check.Lost: 1}},
		"an event came twice": {func(in *check.Input) {
			in.Watchers[0].Seen = slices.Insert(in.Watchers[0].Seen, 2, in.Watchers[0].Seen[1])
		}, counts{check.Doubled: 1}},
		"a log has an event twice": {func(in *check.Input) {
			in.Jobs[0].Log = slices.Insert(in.Jobs[0].Log, 2, in.Jobs[0].Log[1])
		}, counts{check.Doubled: 1}},
		"two events changed places": {func(in *check.Input) {
			s := in.Watchers[0].Seen
			s[1], s[2] = s[2], s[1]
		}, counts{check.Reordered: 1}},
		"an event is another": {func(in *check.Input) { in.Watchers[0].Seen[2].Hash = 99 }, counts{check.Altered: 1}},
		"history was changed": {func(in *check.Input) { in.Jobs[1].Log[2].Hash = 99 }, counts{check.Altered: 2}},
		"a job did not end": {func(in *check.Input) {
			in.Jobs[0].Status, in.Listed[1].Status = "running", "running"
			in.Jobs[0].Log = in.Jobs[0].Log[:3]
			in.Watchers[0].Seen, in.Watchers[1].Seen = in.Watchers[0].Seen[:3], in.Watchers[1].Seen[:3]
		}, counts{check.Unterminated: 1}},
		"a log did not end": {func(in *check.Input) {
			in.Jobs[0].Log = in.Jobs[0].Log[:3]
			in.Watchers[0].Seen, in.Watchers[1].Seen = in.Watchers[0].Seen[:3], in.Watchers[1].Seen[:3]
		}, counts{check.Unterminated: 1}},
		"a watcher saw two ends": {func(in *check.Input) { in.Watchers[0].Seen[2].Type = "job.failed" }, counts{check.EndedTwice: 1}},
		"a log goes on after its end": {func(in *check.Input) {
			in.Jobs[0].Log[2].Type = "job.completed"
		}, counts{check.EndedTwice: 1}},
		"two answers for one key": {func(in *check.Input) {
			in.Submits[0].Answers[1] = "job_9"
		}, counts{check.Idempotency: 1}},
		"two jobs of one key": {func(in *check.Input) {
			in.Listed = append(in.Listed, check.Listed{ID: "job_9", Key: "k1", Status: "completed"})
		}, counts{check.Idempotency: 1}},
		"a job began too early": {func(in *check.Input) { in.Probes[0].Status = "running" }, counts{check.Overlap: 1}},
		"status and log disagree": {func(in *check.Input) {
			in.Jobs[0].Status, in.Listed[1].Status = "failed", "failed"
		}, counts{check.Disagreeing: 1}},
		"last_seq and log disagree": {func(in *check.Input) { in.Jobs[0].LastSeq = 5 }, counts{check.Disagreeing: 1}},
		"list and get disagree":     {func(in *check.Input) { in.Listed[0].Status = "queued" }, counts{check.Disagreeing: 1}},
		"a job is listed twice":     {func(in *check.Input) { in.Listed = append(in.Listed, in.Listed[0]) }, counts{check.Disagreeing: 1}},
		"a job was made to fail": {func(in *check.Input) {
			j := &in.Jobs[0]
			j.Status, j.Failure, in.Listed[1].Status = "failed", "internal_job", "failed"
			j.Log[3].Type = "job.failed"
		}, counts{check.Blamed: 1}},
		"an answer contradicts itself": {func(in *check.Input) {
			in.Watchers[0].Misread = "next is 3 after 4"
		}, counts{check.Disagreeing: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := good()
			c.harm(in)
			r := check.Run(in)
			if !r.Failed() {
				t.Error("the campaign passed")
			}
			got := counts{}
			for rule, n := range r.Violations {
				if n > 0 {
					got[rule] = n
				}
				if n > 0 != (len(r.Findings[rule]) > 0) {
					t.Errorf("%s: %d violations, %d findings", rule, n, len(r.Findings[rule]))
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s\n%v", d, r.Findings)
			}
		})
	}
}
