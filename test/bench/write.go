package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/wait"
)

// commitClock notes when the events of one job became durable: the moment the
// document store's commit has returned, before anybody is told.
type commitClock struct {
	docstore.Driver

	mu     sync.Mutex
	job    string
	stored map[int64]int64
}

var _ docstore.Driver = (*commitClock)(nil)

// watch begins to note the events of a job.
func (c *commitClock) watch(jobID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.job, c.stored = jobID, map[int64]int64{}
}

// noted is when each event was stored: seq to Unix nanoseconds.
func (c *commitClock) noted() map[int64]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	stored := c.stored
	c.job, c.stored = "", nil
	return stored
}

// Commit implements docstore.Driver.
func (c *commitClock) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	versions, err := c.Driver.Commit(ctx, writes)
	if err != nil {
		return versions, err
	}
	now := time.Now().UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range writes {
		// The log's documents are called "<job>:<first seq>".
		jobID, first, ok := strings.Cut(w.Key.ID, ":")
		last, isLog := w.Fields["last_seq"].(int64)
		if !ok || !isLog || w.Key.Collection != eventlog.Collection || jobID != c.job {
			continue
		}
		seq, err := strconv.ParseInt(first, 10, 64)
		for ; err == nil && seq <= last; seq++ {
			c.stored[seq] = now
		}
	}
	return versions, nil
}

// claim submits a job and takes it as a worker does.
func (e *edgeProcess) claim(ctx context.Context) (*job.Held, error) {
	j, _, err := e.jobs.Submit(ctx, job.Submission{Tenant: "default", Spec: job.Spec{Prompt: prompt}})
	if err != nil {
		return nil, err
	}
	return e.jobs.Claim(ctx, j.ID, job.ClaimOptions{Worker: "wrk_bench", Lease: 5 * time.Minute, DeltaDelay: 25 * time.Millisecond})
}

// entry is an event as large as those of a real run mostly are.
func entry(n int) eventlog.Entry {
	params := fmt.Sprintf(`{"threadId":"0199f0c6-bench","turnId":"1","item":{"type":"agentMessage","id":"msg_%08d","text":%q}}`,
		n, strings.Repeat("a word or two ", 20))
	return eventlog.Entry{Type: eventlog.TypeCodex, Time: time.Now(), Data: eventlog.CodexData("item/completed", json.RawMessage(params))}
}

// stream "N RATE" names a job, waits for a line, appends N events to its log, at
// RATE a second whatever the store does, and tells when each was stored.
func (e *edgeProcess) stream(ctx context.Context, args string) error {
	var n, rate int
	if _, err := fmt.Sscan(args, &n, &rate); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	h, err := e.claim(ctx)
	if err != nil {
		return err
	}
	e.clock.watch(h.Job().ID)
	if err := e.reply("", h.Job().ID); err != nil || !e.lines.Scan() {
		return errors.Join(err, e.lines.Err())
	}
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if !wait.For(ctx, time.Until(due)) {
			return context.Cause(ctx)
		}
		if err := h.Log.Append(ctx, entry(i)); err != nil {
			return err
		}
	}
	if err := h.Log.Flush(ctx); err != nil {
		return err
	}
	return e.reply("", e.clock.noted())
}

// appended is the answer to append.
type appended struct {
	Events  int64   `json:"events"`
	Seconds float64 `json:"seconds"`
}

// append "WRITERS SECONDS" appends as fast as the store takes, each writer to a
// job of its own.
func (e *edgeProcess) append(ctx context.Context, args string) error {
	var writers, seconds int
	if _, err := fmt.Sscan(args, &writers, &seconds); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	var all sync.WaitGroup
	counts, failed := make([]int64, writers), make([]error, writers)
	begin := time.Now()
	end := begin.Add(time.Duration(seconds) * time.Second)
	for i := range writers {
		all.Go(func() {
			h, err := e.claim(ctx)
			for n := 0; err == nil && time.Now().Before(end); n++ {
				err = h.Log.Append(ctx, entry(n))
			}
			if err == nil {
				err = h.Log.Flush(ctx)
			}
			if failed[i] = err; err == nil {
				counts[i] = h.Log.LastSeq()
			}
		})
	}
	all.Wait()
	out := appended{Seconds: time.Since(begin).Seconds()}
	for _, n := range counts {
		out.Events += n
	}
	return errors.Join(errors.Join(failed...), e.reply("", out))
}
