package runner

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/job/jobtest"
	"codexgateway.dev/pkg/programtest"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/worker/internal/broker"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/pool"
	"codexgateway.dev/services/worker/internal/quota"
)

// idle is a Codex that answers initialize and then waits for its end.
const idle = `#!/bin/sh
read line
echo '{"id":1,"result":{"userAgent":"idle","codexHome":"/","platformFamily":"unix","platformOs":"linux"}}'
while read line; do :; done
`

// slotOf is a slot with an idle Codex, which ends with the test.
func slotOf(t *testing.T) *pool.Slot {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "codex", "bin", "codex")
	programtest.Write(t, program, []byte(idle))
	launcher, err := jail.Open(jail.Config{Mode: jail.ProcessGroup, Codex: filepath.Join(dir, "codex")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(launcher.Close)
	proxy, err := broker.New(broker.Options{
		BaseURL: "http://127.0.0.1:1/v1", Key: func(context.Context) (secret.Value, error) { return secret.Value{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	slots, err := pool.New(pool.Config{Dir: filepath.Join(dir, "slots"), StartTimeout: time.Minute}, pool.Deps{
		Launcher: launcher, Broker: proxy, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := slots.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slot.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return slot
}

// runOf is a run of a claimed job.
func runOf(t *testing.T, env *jobtest.Env, slot *pool.Slot) (u *run, ctx context.Context) {
	t.Helper()
	held := env.Claim(t, env.Submit(t, "x").ID, "w")
	t.Cleanup(func() { held.Abandon(errLost) })
	ctx, stop := context.WithCancelCause(t.Context())
	t.Cleanup(func() { stop(nil) })
	return &run{
		Runner: New(Config{}, Deps{Jobs: env.Jobs, Logger: slog.New(slog.DiscardHandler), Now: env.Clock.Now}),
		held:   held, job: held.Job(), stop: stop, slot: slot, log: slog.New(slog.DiscardHandler),
	}, ctx
}

// away is a store whose commits wait for their end.
type away struct{ docstore.Driver }

func (away) Commit(ctx context.Context, _ []docstore.Write) ([]docstore.Version, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestAStoreThatIsAwayAtTheEndKeepsNoCodexRunning(t *testing.T) {
	t.Parallel()
	env := jobtest.New(t)
	slot := slotOf(t)
	u, ctx := runOf(t, env, slot)
	for range 1000 { // more than anybody tries in the time of this test
		env.Fault.Next(jobtest.Rule{Collection: job.Collection, Err: docstore.ErrUnavailable})
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- u.finish(ctx, job.Result{State: job.Completed}) }()
	<-slot.Gone() // while the end is still being tried
	select {
	case err := <-ended:
		t.Errorf("it gave up: %v", err)
	default:
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("an end that was not stored")
	}
}

func TestAStoppedRunDoesNotWaitForTheStore(t *testing.T) {
	t.Parallel()
	env := jobtest.New(t)
	u, ctx := runOf(t, env, nil)
	env.Fault.Driver = away{env.Fault.Driver}
	note := codex.Notification{Method: "item/completed", Kind: codex.KindItem, Relay: true, Params: make([]byte, 1<<20)}
	for i := range note.Params {
		note.Params[i] = '1'
	}
	written := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ { // more than the log takes while nothing is stored
			u.relay(ctx, note)
		}
		written <- n
	}()
	u.stop(errCancelled)
	if n := <-written; n > 64 {
		t.Errorf("%d MiB wait for a store that is away", n)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errCancelled) {
		t.Errorf("the run ended because of %v", cause)
	}
}

func TestWhatIsCollectedHasAnEnd(t *testing.T) {
	t.Parallel()
	full := fullError(quota.Limits{Bytes: 1 << 20, Files: 7}, errors.New("counted"))
	for name, c := range map[string]struct {
		cause error
		after time.Duration
	}{
		"cancel":   {errCancelled, collectTime},
		"deadline": {errDeadline, collectTime},
		"stall":    {errStalled, collectTime},
		"shutdown": {ErrShutdown, collectTime},
		"lost":     {errLost, 0},
		"full":     {full, 0},
	} {
		for _, before := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					run, stop := context.WithCancelCause(t.Context())
					if before {
						stop(c.cause)
					}
					ctx, cancel := collecting(run)
					defer cancel()
					stop(c.cause)
					began := time.Now()
					<-ctx.Done()
					if took := time.Since(began); took != c.after || !errors.Is(context.Cause(ctx), c.cause) {
						t.Errorf("it ended after %v with %v", took, context.Cause(ctx))
					}
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := collecting(t.Context())
		defer cancel()
		synctest.Wait()
		if ctx.Err() != nil {
			t.Errorf("a run that goes on: %v", context.Cause(ctx))
		}
	})
	if o := judge(full, errors.New("codex died")); o.state != job.Failed || o.err == nil || o.err.Code != string(errs.WorkspaceFull) {
		t.Errorf("a full job ends as %+v", o)
	}
}
