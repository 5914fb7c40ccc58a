package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
)

// storedLook is how often durable looks.
const storedLook = 20 * time.Microsecond

// durable waits until everything appended to a log is stored. Its writer does
// not say so without ending.
func durable(ctx context.Context, h *job.Held, last int64) error {
	for h.Log.LastSeq() < last {
		if h.Log.Err() != nil || !wait.For(ctx, storedLook) {
			return errors.Join(h.Log.Err(), context.Cause(ctx))
		}
	}
	return nil
}

// finished "N BATCH" runs a job that appends N events, BATCH in each document,
// and completes, and names it.
func (e *edgeProcess) finished(ctx context.Context, args string) error {
	var n, batch int
	if _, err := fmt.Sscan(args, &n, &batch); err != nil {
		return fmt.Errorf("finished: %w", err)
	}
	h, err := e.claim(ctx)
	if err != nil {
		return err
	}
	began := h.Log.LastSeq()
	for i := range n {
		if err := h.Log.Append(ctx, entry(i)); err != nil {
			return err
		}
		if (i+1)%batch == 0 {
			if err := durable(ctx, h, began+int64(i)+1); err != nil {
				return err
			}
		}
	}
	if err := h.Finish(ctx, job.Result{State: job.Completed, Content: "done", Model: "bench"}); err != nil {
		return err
	}
	return e.reply("", h.Job().ID)
}

// quiet names a running job whose log has two events and gets no more.
func (e *edgeProcess) quiet(ctx context.Context) error {
	h, err := e.claim(ctx)
	if err != nil {
		return err
	}
	return e.reply("", h.Job().ID)
}

// grown is the answer to a step of grow: when the first event of the burst was
// appended, in Unix nanoseconds, and what each single append took.
type grown struct {
	Begin   int64           `json:"begin"`
	Last    int64           `json:"last"`
	Appends []time.Duration `json:"appends"`
}

// grow "SINGLE BURST" names a job. Each further line but "end" is a length: its
// log is filled up to it; SINGLE events are appended one by one, each once the one before is stored; at
// the next line a burst of BURST events is appended at once.
func (e *edgeProcess) grow(ctx context.Context, args string) error {
	var single, burst int
	if _, err := fmt.Sscan(args, &single, &burst); err != nil {
		return fmt.Errorf("grow: %w", err)
	}
	h, err := e.claim(ctx)
	if err != nil {
		return err
	}
	if err := e.reply("", h.Job().ID); err != nil {
		return err
	}
	add := func(n int) error {
		last := h.Log.LastSeq() + int64(n)
		for i := range n {
			if err := h.Log.Append(ctx, entry(i)); err != nil {
				return err
			}
		}
		return durable(ctx, h, last)
	}
	for e.lines.Scan() && e.lines.Text() != "end" {
		var length int64
		if _, err := fmt.Sscan(e.lines.Text(), &length); err != nil {
			return fmt.Errorf("grow: %w", err)
		}
		if err := add(int(length - h.Log.LastSeq())); err != nil {
			return err
		}
		var g grown
		for range single {
			begin := time.Now()
			if err := add(1); err != nil {
				return err
			}
			g.Appends = append(g.Appends, time.Since(begin))
		}
		g.Last = h.Log.LastSeq()
		if err := e.reply("", g); err != nil || !e.lines.Scan() {
			return fmt.Errorf("grow: no burst: %w", err)
		}
		g = grown{Begin: time.Now().UnixNano()}
		if err := add(burst); err != nil {
			return err
		}
		g.Last = h.Log.LastSeq()
		if err := e.reply("", g); err != nil {
			return err
		}
	}
	return e.lines.Err()
}

const (
	// fillCommit is how many documents one commit of fill has.
	fillCommit = 100
	// fillShare of the jobs belong to the tenant that is asked for; the others to
	// fillTenants more.
	fillShare   = 2
	fillTenants = 20
	// fillSessions is how many sessions a tenant's jobs have.
	fillSessions = 500
)

// fill "N" stores N jobs that have ended, one in a hundred that has not, without
// their logs, and names one in a thousand of the default tenant.
func (e *edgeProcess) fill(ctx context.Context, args string) error {
	var n int
	if _, err := fmt.Sscan(args, &n); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	var names []string
	begin := time.Now().Add(-time.Duration(n) * time.Second)
	var writes []docstore.Write
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Second)
		j := job.Job{
			ID: id.New(id.Job), Tenant: "default", ConversationID: id.New(id.Conversation),
			SessionID: fmt.Sprintf("session-%d", rand.N(fillSessions)), State: job.Completed, Lane: job.LaneLong, Attempt: 1,
			Spec: &job.Spec{Prompt: "Look at the tests that fail and repair what they found."}, Timeout: 30 * time.Minute, Model: "bench",
			CreatedAt: at, StartedAt: at, EndedAt: at.Add(time.Second), LastSeq: 20,
			Content: "The tests pass: two of them expected what the code no longer does, the third found a mistake in its bounds.",
			Usage:   job.Usage{Input: 10_000, Output: 500},
		}
		if i%fillShare != 0 {
			j.Tenant = fmt.Sprintf("tenant-%d", rand.N(fillTenants))
		} else if i%1000 == 0 {
			names = append(names, j.ID)
		}
		if i%100 < fillShare {
			j.State, j.EndedAt, j.Content = job.Running, time.Time{}, ""
		}
		data, err := json.Marshal(&j)
		if err != nil {
			return err
		}
		writes = append(writes, docstore.Write{
			Op: docstore.Create, Key: docstore.Key{Collection: job.Collection, ID: j.ID}, Data: data,
			Fields: docstore.Fields{
				"tenant": j.Tenant, "state": string(j.State), "session": j.SessionID,
				"created_at": j.CreatedAt.UnixMicro(), "due_for": "", "due_at": time.Time{}.UnixMicro(),
			},
		})
		if len(writes) == fillCommit || i == n-1 {
			if _, err := e.jobs.Docs.Commit(ctx, writes); err != nil {
				return err
			}
			writes = writes[:0]
		}
	}
	return e.reply("", names)
}
