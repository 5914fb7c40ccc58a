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
