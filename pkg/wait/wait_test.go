package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/wait"
)

func TestForEndsWithTheTimeOrTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !wait.For(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("waited %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); wait.For(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("waited %v past the end of the context", time.Since(began))
		}
	})
}

func TestTheStopOfAfterFuncWaitsForWhatHasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		stop := wait.AfterFunc(ctx, func() {
			<-time.After(time.Minute)
			ended = true
		})
		cancel()
		synctest.Wait()
		stop()
		stop() // twice is fine
		if !ended {
			t.Error("it goes on after the stop")
		}
		ctx, cancel = context.WithCancel(t.Context())
		stop = wait.AfterFunc(ctx, func() { t.Error("called after it was stopped") })
		stop()
		cancel()
		synctest.Wait()
	})
}
