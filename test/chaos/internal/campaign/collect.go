package campaign

import (
	"context"
	"fmt"
	"time"

	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/watch"
)

// jobView is what the campaign reads of a job.
type jobView struct {
	JobID    string            `json:"job_id"`
	Status   string            `json:"status"`
	LastSeq  int64             `json:"last_seq"`
	Metadata map[string]string `json:"metadata"`
	Error    struct {
		Code string `json:"code"`
	} `json:"error"`
}

// collect asks the API for the end of every job. The gateway is whole by then,
// so a call that fails is tried again for a while only.
func (l *load) collect(ctx context.Context) (*check.Input, error) {
	in := &check.Input{Probes: l.probes}
	for _, s := range l.submits {
		in.Submits = append(in.Submits, *s)
	}
	for i := range l.records {
		r := &l.records[i]
		in.Watchers = append(in.Watchers, check.Watcher{
			JobID: r.JobID, Transport: r.Transport, Seen: plain(r.Seen), Reconnects: r.Reconnects, Misread: r.Misread,
		})
		r.Seen = nil
	}
	for _, id := range l.jobs {
		j, err := l.job(ctx, id)
		if err != nil {
			return nil, err
		}
		in.Jobs = append(in.Jobs, j)
	}
	var err error
	in.Listed, err = l.list(ctx)
	return in, err
}

func plain(events []watch.Event) []check.Event {
	out := make([]check.Event, len(events))
	for i, e := range events {
		out[i] = check.Event(e)
	}
	return out
}

// insistTries bounds how often a reading call is made.
const insistTries = 20

// insist calls until there is an answer, which may be an error for good.
func insist(ctx context.Context, call func() error) error {
	var err error
	for range insistTries {
		if err = call(); err == nil || watch.Final(err) || !wait.For(ctx, 250*time.Millisecond) {
			return err
		}
	}
	return err
}

func (l *load) job(ctx context.Context, id string) (check.Job, error) {
	var v jobView
	err := insist(ctx, func() error { return l.call(ctx, "job.get", jobRef{JobID: id}, &v) })
	if watch.Final(err) {
		return check.Job{ID: id}, nil // the check says that it is lost
	}
	if err != nil {
		return check.Job{}, fmt.Errorf("campaign: job.get: %w", err)
	}
	j := check.Job{ID: id, Key: v.Metadata["key"], Found: true, Status: v.Status, LastSeq: v.LastSeq, Failure: v.Error.Code}
	var events []watch.Event
	err = insist(ctx, func() (err error) {
		events, _, err = l.gateway.Log(ctx, id)
		return err
	})
	if watch.Final(err) {
		j.Unreadable = err.Error()
		return j, nil
	}
	if err != nil {
		return check.Job{}, fmt.Errorf("campaign: job.events: %w", err)
	}
	j.Log = plain(events)
	return j, nil
}

type listParams struct {
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor,omitempty"`
}

func (l *load) list(ctx context.Context) ([]check.Listed, error) {
	var all []check.Listed
	for cursor := ""; ; {
		var page struct {
			Jobs       []jobView `json:"jobs"`
			NextCursor string    `json:"next_cursor"`
		}
		err := insist(ctx, func() error {
			return l.call(ctx, "job.list", listParams{Limit: 200, Cursor: cursor}, &page)
		})
		if err != nil {
			return nil, fmt.Errorf("campaign: job.list: %w", err)
		}
		for _, j := range page.Jobs {
			all = append(all, check.Listed{ID: j.JobID, Key: j.Metadata["key"], Status: j.Status})
		}
		if page.NextCursor == "" {
			return all, nil
		}
		cursor = page.NextCursor
	}
}
