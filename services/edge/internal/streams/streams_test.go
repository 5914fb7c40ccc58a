package streams_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"codexgateway.dev/services/edge/internal/streams"
)

func TestSetIsBoundedAndWaitsForTheLast(t *testing.T) {
	t.Parallel()
	s := streams.New(2)
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("an empty set: %v", err)
	}
	var open [2]*streams.Stream
	for i := range open {
		var ok bool
		if open[i], ok = s.Open(streams.Credential{KeyID: "key_a"}); !ok {
			t.Fatalf("no place %d of 2", i)
		}
	}
	if _, ok := s.Open(streams.Credential{KeyID: "key_b"}); ok {
		t.Error("a third place of 2")
	}
	open[0].Close()
	open[0].Close()
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := s.Wait(ctx); !errors.Is(err, gone) {
		t.Errorf("one is open: %v, want the cause", err)
	}
	again, ok := s.Open(streams.Credential{KeyID: "key_b"})
	if !ok {
		t.Fatal("a place that was given back is not there")
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context()) }()
	again.Close()
	open[1].Close()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if left := s.Keys(); len(left) != 0 {
		t.Errorf("keys %v without a stream", left)
	}
}

func TestDrainEndsWhatWaits(t *testing.T) {
	t.Parallel()
	s := streams.New(1)
	stream, _ := s.Open(streams.Credential{})
	defer stream.Close()
	left, stopLeft := stream.Until(t.Context())
	stopLeft()
	ctx, stop := stream.Until(t.Context())
	defer stop()
	s.Drain()
	<-ctx.Done()
	<-s.Draining()
	if err := context.Cause(ctx); !errors.Is(err, streams.ErrDraining) {
		t.Errorf("ended by %v", err)
	}
	if err := context.Cause(left); errors.Is(err, streams.ErrDraining) {
		t.Errorf("ended by %v after its stop", err)
	}
	late, stopLate := stream.Until(t.Context())
	defer stopLate()
	if <-late.Done(); !errors.Is(context.Cause(late), streams.ErrDraining) {
		t.Errorf("a late one ended by %v", context.Cause(late))
	}
}

// Hints spread over their whole span: of 200 no tenth has more than half.
func TestRetryHintsAreSpread(t *testing.T) {
	t.Parallel()
	var tenths [10]int
	for range 200 {
		after := streams.RetryAfter()
		if after < streams.RetryFrom || after >= streams.RetryTo || after%time.Millisecond != 0 {
			t.Fatalf("hint %s", after)
		}
		tenths[int(10*(after-streams.RetryFrom)/(streams.RetryTo-streams.RetryFrom))]++
	}
	used := 0
	for i, n := range tenths {
		if n > 100 {
			t.Errorf("%d of 200 hints in tenth %d", n, i)
		}
		if n > 0 {
			used++
		}
	}
	if used < 8 {
		t.Errorf("hints in %d tenths of the span: %v", used, tenths)
	}
}

// A key that has as many streams as it may does not take the place of others.
func TestAKeyHasABoundedNumberOfStreams(t *testing.T) {
	t.Parallel()
	s := streams.New(3)
	a, b := streams.Credential{KeyID: "a"}, streams.Credential{KeyID: "b"}
	first, err := s.OpenAtMost(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenAtMost(a, 1); !errors.Is(err, streams.ErrKeyFull) {
		t.Errorf("a second of a: %v", err)
	}
	for range 2 {
		st, err := s.OpenAtMost(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
	}
	if _, err := s.OpenAtMost(a, 5); !errors.Is(err, streams.ErrFull) {
		t.Errorf("a fourth of three: %v", err)
	}
	first.Close()
	again, err := s.OpenAtMost(a, 1)
	if err != nil {
		t.Fatalf("after the first is closed: %v", err)
	}
	again.Close()
}
