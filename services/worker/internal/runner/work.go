package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/broker"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/pool"
)

// result is what a run leaves, whole or in part.
type result struct {
	// whole: the turn ended by itself and all it left is collected, so there is
	// nothing to hand back and nothing to stop.
	whole      bool
	model      string
	content    string
	structured json.RawMessage
	artifacts  []job.Artifact
	thread     *conversation.Thread
}

// work does the job: slot, workspace, conversation, turn, result. What it
// returns besides an error is kept, whatever the job's state becomes.
func (u *run) work(ctx context.Context) (result, error) {
	var spec *job.Spec
	err := u.insistBlob(ctx, "spec", func(ctx context.Context) (err error) {
		spec, err = u.Jobs.LoadSpec(ctx, &u.job)
		return err
	})
	if err != nil {
		return result{}, err
	}
	slot, err := u.take(ctx)
	if err != nil {
		return result{}, err
	}
	u.heard()
	ws, err := u.prepare(ctx, slot, spec)
	if err != nil {
		return result{}, err
	}
	u.heard()
	thread, err := u.openThread(ctx, slot, spec, ws)
	if err != nil {
		return result{}, err
	}
	slot.Handle(func(n codex.Notification) { u.relay(ctx, n) })
	defer slot.Handle(nil)
	turn, err := slot.Codex.StartTurn(ctx, turnParams(thread.ID, spec))
	if err != nil {
		return result{model: thread.Model}, failure(err)
	}
	end, err := u.await(ctx, slot, turn)
	if err != nil {
		return result{model: thread.Model}, err
	}
	u.unguard()
	own := end.Status == codex.StatusCompleted || end.Status == codex.StatusFailed && ctx.Err() == nil
	out := result{model: thread.Model, content: end.Message}
	if len(spec.OutputSchema) > 0 && json.Valid([]byte(end.Message)) {
		out.structured = json.RawMessage(end.Message)
	}
	collecting, cancel := collecting(ctx)
	defer cancel()
	if err := u.quiet(collecting, slot, end); err != nil {
		return out, err
	}
	if err := u.collect(collecting, slot, ws, thread, &out); err != nil {
		return out, err
	}
	out.whole = own
	return out, turnError(end)
}

// collectTime bounds the collecting of what a stopped job leaves: its terminal
// event must come within the grace and 5 s.
const collectTime = 4 * time.Second

// collecting is the context in which a run's result is collected. A run that is
// stopped meanwhile, or was before, still gets collectTime: a turn that is over
// is worth more stored than run again. One that must have no further effect
// gets none.
func collecting(ctx context.Context) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if !stopping(ctx) && !errors.Is(cause, ErrShutdown) {
			cancel(cause)
			return
		}
		timer := time.NewTimer(collectTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(cause)
		case <-c.Done():
		}
	})
	return c, func() {
		release()
		cancel(nil)
	}
}

// streamIdle is how long a model may be silent in the middle of a stream; the
// broker's own limit is the same, and its waits come before the stream.
const streamIdle = 5 * time.Minute

// take gets a slot and gives it to the job.
func (u *run) take(ctx context.Context) (*pool.Slot, error) {
	slot, err := u.Pool.Take(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errs.Wrap(errs.CodexCrashed, "", err)
	}
	u.mu.Lock()
	u.slot = slot
	u.mu.Unlock()
	u.taken <- slot
	if err := slot.Session.Bind(u.job.ID, broker.Limits{Deadline: time.Now().Add(u.held.Remaining())}); err != nil {
		return nil, err
	}
	return slot, nil
}

// openThread starts a conversation, or goes on with the one the last job left.
func (u *run) openThread(ctx context.Context, slot *pool.Slot, spec *job.Spec, ws *space) (codex.Thread, error) {
	model := spec.Model
	if model == "" {
		model = u.cfg.Model
	}
	params, err := codex.JobConfig(codex.JobOptions{
		CodexHome: slot.Paths.CodexHome, Workspace: slot.Paths.Workspace, Cwd: ws.cwd,
		ReadOnly: spec.Sandbox == "read-only", Network: spec.Network,
		WritePaths:   []string{slot.Paths.Tmp},
		Env:          commandEnv(slot),
		ModelBaseURL: slot.Session.BaseURL(), ModelToken: slot.Session.Token(),
		// The broker retries what is worth it; Codex only re-opens a stream that
		// broke in the middle, which nobody else can.
		RequestRetries: 0, StreamRetries: 2, StreamIdle: streamIdle,
		Approval: codex.ApprovalPolicy(spec.ApprovalPolicy), Model: model,
		Instructions: ws.instructions,
	})
	if err != nil {
		return codex.Thread{}, err
	}
	if u.held.Thread == nil {
		t, err := slot.Codex.StartThread(ctx, params)
		return t, failure(err)
	}
	if err := u.restoreRollout(ctx, slot); err != nil {
		return codex.Thread{}, err
	}
	t, err := slot.Codex.ResumeThread(ctx, u.held.Thread.ID, params)
	return t, failure(err)
}

// commandEnv is all that a command of the job finds in its environment.
func commandEnv(slot *pool.Slot) map[string]string {
	return map[string]string{
		"PATH": slot.Paths.Codex + "/codex-path:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": slot.Paths.Home, "TMPDIR": slot.Paths.Tmp, "LANG": "C.UTF-8", "USER": "codex", "SHELL": "/bin/bash",
	}
}

// turnParams is the job's input.
func turnParams(threadID string, spec *job.Spec) codex.TurnParams {
	input := make([]codex.Input, 0, 1+len(spec.Images))
	input = append(input, codex.Text(spec.Prompt))
	for _, uri := range spec.Images {
		input = append(input, codex.ImageURL(uri))
	}
	return codex.TurnParams{
		ThreadID: threadID, Input: input, Model: spec.Model, Effort: spec.Effort, OutputSchema: spec.OutputSchema,
	}
}

// await waits for the end of the turn. When the run is stopped, the turn is
// interrupted and gets its grace; what does not end then is killed.
func (u *run) await(ctx context.Context, slot *pool.Slot, turn *codex.Turn) (codex.Result, error) {
	end, err := turn.Wait(ctx)
	if err == nil {
		return end, nil
	}
	if !stopping(ctx) {
		slot.Kill()
		return codex.Result{}, err
	}
	grace, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), u.cfg.Grace, errors.New("runner: interrupt grace is over"))
	defer cancel()
	if err := slot.Codex.Interrupt(grace, turn.ThreadID(), turn.ID()); err != nil && !errors.Is(err, codex.ErrNoActiveTurn) {
		u.log.WarnContext(ctx, "interrupt not accepted", slog.Any("error", err))
	}
	end, err = turn.Wait(grace)
	if err != nil {
		slot.Kill()
		return codex.Result{}, err
	}
	return end, nil
}

// quietTime is how long Codex may take to end its commands; measured 40 ms.
const quietTime = 2 * time.Second

// quiet makes sure that nothing writes in the workspace while it is collected.
// A command dies with its sandbox, so only those that outlive their turn as
// background terminals can; Codex ends them, and itself, when its stdin ends.
func (u *run) quiet(ctx context.Context, slot *pool.Slot, end codex.Result) error {
	if len(end.OpenCommands) == 0 && end.Status != codex.StatusLost {
		return nil
	}
	if err := slot.Codex.Close(); err != nil {
		u.log.DebugContext(ctx, "codex stdin", slog.Any("error", err))
	}
	timer := time.NewTimer(quietTime)
	defer timer.Stop()
	select {
	case <-slot.Gone():
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	slot.Kill()
	select {
	case <-slot.Gone():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turnError is the job error of a turn that did not complete.
func turnError(end codex.Result) error {
	switch end.Status {
	case codex.StatusCompleted:
		return nil
	case codex.StatusFailed, codex.StatusLost:
		if end.Failure != nil {
			return end.Failure
		}
		return errs.New(errs.TurnFailed, "")
	case codex.StatusInterrupted:
		return errs.New(errs.TurnFailed, "The turn was interrupted.")
	}
	return errs.New(errs.CodexProtocol, fmt.Sprintf("Codex ended the turn as %q.", end.Status))
}

// failure keeps nil nil: codex.Failure makes a job error of anything.
func failure(err error) error {
	if err == nil {
		return nil
	}
	return codex.Failure(err)
}
