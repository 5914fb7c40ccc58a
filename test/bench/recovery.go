package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

const (
	recoveryRuns = 3
	// recoveryLease is the default of the embedded platform.
	recoveryLease = 15 * time.Second
	recoverySlack = 5 * time.Second
	handBackS     = 1
	// recoveryPrompt keeps a job busy for longer than a recovery takes.
	recoveryPrompt = "mock: deltas 3000 50"
	recoveryLimit  = 90 * time.Second
)

// measureRecovery takes how long a job stands still when its gateway is killed,
// and when it is asked to stop; each time it is started again at once.
func measureRecovery(ctx context.Context, b *bench) ([]figure, error) {
	var killed, stopped times
	for i := range recoveryRuns {
		took, err := b.interrupt(ctx, fmt.Sprintf("killed%d", i), (*program).kill, 2)
		if err != nil {
			return nil, fmt.Errorf("kill: %w", err)
		}
		killed = append(killed, took.sinceEnd)
		if took, err = b.interrupt(ctx, fmt.Sprintf("stopped%d", i), (*program).stop, 1); err != nil {
			return nil, fmt.Errorf("stop: %w", err)
		}
		stopped = append(stopped, took.sinceReady)
	}
	return []figure{
		atMost((recoveryLease + recoverySlack).Seconds(), "recovery_kill", round(killed.median().Seconds()), "s", len(killed), killed.spread()),
		atMost(handBackS, "recovery_restart", round(stopped.median().Seconds()), "s", len(stopped), stopped.spread()),
	}, nil
}

// interruption is when an interrupted job went on.
type interruption struct {
	sinceEnd, sinceReady time.Duration
}

// interrupt ends a gateway in the middle of a job, starts it again and waits for
// the job's next start, which must be of an attempt.
func (b *bench) interrupt(ctx context.Context, name string, end func(*program) error, attempt int) (took interruption, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryLimit, fmt.Errorf("the job did not go on within %s", recoveryLimit))
	defer cancel()
	dir := filepath.Join(b.dir, name)
	g, err := b.up(ctx, dir, "127.0.0.1:0", nil, "--mock-model")
	if err != nil {
		return took, err
	}
	job, last, err := g.midway(ctx)
	if err != nil {
		return took, errors.Join(err, g.stop())
	}
	ended := time.Now()
	if err := end(g.program); err != nil {
		return took, err
	}
	if g, err = b.up(ctx, dir, "127.0.0.1:0", nil, "--mock-model"); err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.call(ctx, apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: job, After: last}, nil); err != nil {
		return took, err
	}
	for {
		ev, _, err := s.event(ctx)
		if err != nil {
			return took, err
		}
		if ev.Type != eventlog.TypeStarted {
			continue
		}
		// The event's own time: it may have been there before the first look.
		at, err := time.Parse(eventlog.TimeFormat, ev.Time)
		if err == nil && ev.Attempt != attempt {
			err = fmt.Errorf("attempt %d, want %d", ev.Attempt, attempt)
		}
		return interruption{sinceEnd: at.Sub(ended), sinceReady: at.Sub(g.begun.Add(g.ready))}, err
	}
}

// midway submits a long job and waits until Codex has begun to answer.
func (g *gateway) midway(ctx context.Context) (jobID string, last int64, err error) {
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var job apiv1.Accepted
	if err := s.call(ctx, apiv1.MethodConversationPrompt, apiv1.PromptParams{Prompt: recoveryPrompt}, &job); err != nil {
		return "", 0, err
	}
	if err := s.call(ctx, apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: job.JobID}, nil); err != nil {
		return "", 0, err
	}
	for deltas := 0; deltas < 5; {
		ev, _, err := s.event(ctx)
		if err != nil {
			return "", 0, err
		}
		if last = ev.Seq; ev.Type == eventlog.TypeCodex {
			deltas++
		}
	}
	return job.JobID, last, nil
}
