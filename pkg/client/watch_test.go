package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/pkg/errs"
)

// watched is what one Watch did.
type watched struct {
	seqs   []int64
	last   int64
	err    error
	broken []client.SequenceError
	// resumed are the positions of the subscriptions.
	resumed []int64
}

func watchAll(t *testing.T, after int64, connections ...clienttest.Connection) watched {
	t.Helper()
	g := clienttest.New(t)
	g.Add(testJob())
	g.Connections = connections
	var out watched
	c := open(t, client.Options{URL: g.URL, GiveUpAfter: 5 * time.Second, OnSequenceError: func(e *client.SequenceError) {
		out.broken = append(out.broken, *e)
	}})
	out.last, out.err = c.Watch(t.Context(), "job_a", after, func(e apiv1.Event) error {
		out.seqs = append(out.seqs, e.Seq)
		return nil
	})
	for _, s := range g.Subscribed() {
		out.resumed = append(out.resumed, s.After)
	}
	return out
}

func TestWatchDeliversEveryEventOnce(t *testing.T) {
	t.Parallel()
	all := []int64{1, 2, 3, 4, 5}
	cases := map[string]struct {
		after       int64
		connections []clienttest.Connection
		seqs        []int64
		resumed     []int64
	}{
		"one connection":          {seqs: all, resumed: []int64{0}},
		"from the middle":         {after: 3, seqs: []int64{4, 5}, resumed: []int64{3}},
		"everything already seen": {after: 5, seqs: nil, resumed: []int64{5}},
		"draining": {
			connections: []clienttest.Connection{{Events: 2, Close: int(errs.CloseDraining), Reason: `{"retry_after_ms":1}`}},
			seqs:        all, resumed: []int64{0, 2},
		},
		"slow consumer, before any event": {
			connections: []clienttest.Connection{{Close: int(errs.CloseSlowConsumer)}, {Close: int(errs.CloseStoreLost)}},
			seqs:        all, resumed: []int64{0, 0, 0},
		},
		"dropped three times": {
			connections: []clienttest.Connection{{Events: 1, Drop: true}, {Events: 1, Drop: true}, {Events: 2, Drop: true}},
			seqs:        all, resumed: []int64{0, 1, 2, 4},
		},
		"plain going away": {
			connections: []clienttest.Connection{{Events: 3, Close: 1001}},
			seqs:        all, resumed: []int64{0, 3},
		},
		"refused while overloaded": {
			connections: []clienttest.Connection{{Refuse: errs.New(errs.Overloaded, "")}, {Events: 1, Drop: true}, {Refuse: errs.New(errs.Overloaded, "")}},
			seqs:        all, resumed: []int64{0, 1},
		},
		"subscribe over the rate limit": {
			connections: []clienttest.Connection{{RefuseSubscribe: errs.New(errs.RateLimited, "").With("retry_after_ms", 1)}},
			seqs:        all, resumed: []int64{0, 0},
		},
		"subscription ended by the gateway": {
			connections: []clienttest.Connection{{ClosedReason: "unsubscribed"}, {ClosedReason: string(errs.Overloaded)}},
			seqs:        all, resumed: []int64{0, 0, 0},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := watchAll(t, tc.after, tc.connections...)
			if got.err != nil || got.last != 5 || got.broken != nil {
				t.Fatalf("last %d, broken %v, err %v", got.last, got.broken, got.err)
			}
			if !slices.Equal(got.seqs, tc.seqs) || !slices.Equal(got.resumed, tc.resumed) {
				t.Errorf("seqs %v, resumed after %v; want %v, %v", got.seqs, got.resumed, tc.seqs, tc.resumed)
			}
		})
	}
}

func TestWatchStopsWhenToldTo(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		connection clienttest.Connection
		want       error
	}{
		"key unknown at the handshake": {clienttest.Connection{Refuse: errs.New(errs.Unauthenticated, "")}, &client.Error{Code: errs.Unauthenticated}},
		"job unknown":                  {clienttest.Connection{RefuseSubscribe: errs.New(errs.NotFound, "")}, &client.Error{Code: errs.NotFound}},
		"subscription refused later":   {clienttest.Connection{ClosedReason: string(errs.PermissionDenied)}, &client.Error{Code: errs.PermissionDenied}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := watchAll(t, 0, tc.connection); !errors.Is(got.err, tc.want) {
				t.Errorf("err = %v, want %v", got.err, tc.want)
			}
		})
	}
	t.Run("key revoked", func(t *testing.T) {
		t.Parallel()
		got := watchAll(t, 0, clienttest.Connection{Events: 2, Close: int(errs.CloseKeyRevoked), Reason: "key revoked"})
		var closed *client.CloseError
		if !errors.As(got.err, &closed) || closed.Code != errs.CloseKeyRevoked || got.last != 2 {
			t.Errorf("last %d, err %v", got.last, got.err)
		}
	})
}

func TestWatchReportsABrokenLog(t *testing.T) {
	t.Parallel()
	t.Run("a gap ends it", func(t *testing.T) {
		t.Parallel()
		got := watchAll(t, 0, clienttest.Connection{Skip: 3})
		want := client.SequenceError{JobID: "job_a", Want: 3, Got: 4}
		var e *client.SequenceError
		if !errors.As(got.err, &e) || *e != want || got.last != 2 {
			t.Errorf("last %d, err %v", got.last, got.err)
		}
		if diff := cmp.Diff([]client.SequenceError{want}, got.broken); diff != "" {
			t.Errorf("reported (-want +got):\n%s", diff)
		}
	})
	t.Run("a duplicate is dropped", func(t *testing.T) {
		t.Parallel()
		got := watchAll(t, 0, clienttest.Connection{Repeat: 2})
		if got.err != nil || !slices.Equal(got.seqs, []int64{1, 2, 3, 4, 5}) {
			t.Errorf("seqs %v, err %v", got.seqs, got.err)
		}
		if diff := cmp.Diff([]client.SequenceError{{JobID: "job_a", Want: 3, Got: 2}}, got.broken); diff != "" {
			t.Errorf("reported (-want +got):\n%s", diff)
		}
	})
	t.Run("an early end", func(t *testing.T) {
		t.Parallel()
		got := watchAll(t, 0, clienttest.Connection{ClosedReason: "finished"})
		if diff := cmp.Diff([]client.SequenceError{{JobID: "job_a", Want: 1}}, got.broken); diff != "" || got.err == nil {
			t.Errorf("err %v, reported (-want +got):\n%s", got.err, diff)
		}
	})
}

func TestWatchReturnsTheReadersError(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	c := open(t, client.Options{URL: g.URL})
	enough := errors.New("enough")
	last, err := c.Watch(t.Context(), "job_a", 0, func(e apiv1.Event) error {
		if e.Seq == 3 {
			return enough
		}
		return nil
	})
	if last != 2 || !errors.Is(err, enough) {
		t.Errorf("Watch = %d, %v", last, err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	g.Connections = []clienttest.Connection{{Events: 2, Hang: true}}
	c := open(t, client.Options{URL: g.URL})
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	last, err := c.Watch(ctx, "job_a", 0, func(e apiv1.Event) error {
		if e.Seq == 2 {
			cancel(why)
		}
		return nil
	})
	if last != 2 || !errors.Is(err, why) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("Watch = %d, %v", last, err)
	}
}

func TestWatchGivesUpOnALostGateway(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	g.Connections = []clienttest.Connection{{Events: 2, Drop: true}}
	for range 1000 {
		g.Connections = append(g.Connections, clienttest.Connection{Refuse: errs.New(errs.Overloaded, "")})
	}
	c := open(t, client.Options{URL: g.URL, GiveUpAfter: 30 * time.Millisecond})
	last, err := c.Watch(t.Context(), "job_a", 0, func(apiv1.Event) error { return nil })
	if last != 2 || !errors.Is(err, &client.Error{Code: errs.Overloaded}) {
		t.Errorf("Watch = %d, %v", last, err)
	}
}

func TestManyWatchersOfOneClient(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	g.Add(testJob())
	c := open(t, client.Options{URL: g.URL})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if last, err := c.Watch(t.Context(), "job_a", 0, func(apiv1.Event) error { return nil }); last != 5 || err != nil {
				t.Errorf("Watch = %d, %v", last, err)
			}
		})
	}
	all.Wait()
}
