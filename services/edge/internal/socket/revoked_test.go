package socket_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/errs"
)

// A connection whose key has ended is told to stop, and nothing that it sends
// after that is served.
func TestAConnectionEndsWithItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		job, _ := b.running()
		ws := b.dial()
		subscribe(t, ws, job)
		synctest.Wait()
		b.open.End("key_test", errs.New(errs.Unauthenticated, "The key was revoked."))
		var err error
		for err == nil {
			_, _, err = ws.Read(t.Context()) // events that were on their way
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.StatusCode(errs.CloseKeyRevoked) || !strings.Contains(closed.Reason, "revoked") {
			t.Errorf("%v, want it closed with %d", err, errs.CloseKeyRevoked)
		}
		late := b.dial()
		if code := closeOf(late); code != websocket.StatusCode(errs.CloseKeyRevoked) {
			t.Errorf("one that comes after: closed with %d", code)
		}
	})
}
