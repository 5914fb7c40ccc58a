package hub

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/bus"
)

// slowBus is a subscription that takes a while to hear, or never does.
type slowBus struct {
	calls  atomic.Int64
	ended  atomic.Int64
	after  time.Duration
	refuse bool
}

func (b *slowBus) Receive(ctx context.Context, _ string, opt bus.ReceiveOptions, _ bus.Handler) error {
	b.calls.Add(1)
	defer b.ended.Add(1)
	if b.refuse {
		return errors.New("no such subscription")
	}
	select {
	case <-time.After(b.after):
	case <-ctx.Done():
		return nil
	}
	close(opt.Ready)
	<-ctx.Done()
	return nil
}

func TestWithoutAWatcherNothingIsOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &slowBus{}
		start(t, New(&fakeLog{}, b, slog.New(slog.DiscardHandler), Options{}))
		<-time.After(time.Hour)
		if n := b.calls.Load(); n != 0 {
			t.Errorf("%d subscriptions were opened", n)
		}
	})
}

// What is stored after the watcher has read and before the subscription hears
// is in no message.
func TestAnEventBetweenTheReadAndTheSubscriptionIsFound(t *testing.T) {
	t.Parallel()
	for _, opens := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 20 * time.Second} {
		t.Run(opens.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{}
				h := New(log, &slowBus{after: opens}, slog.New(slog.DiscardHandler), Options{CheckEvery: time.Hour})
				start(t, h)
				w := watch(t, h, 0)
				done := make(chan error, 1)
				go func() { _, err := seqs(t.Context(), w, 1); done <- err }()
				synctest.Wait() // it has read and waits
				log.append(1, false)
				began := time.Now()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > min(opens, h.opt.PollEvery) {
					t.Errorf("found after %s, want at once when it hears, or within %s", took, h.opt.PollEvery)
				}
			})
		})
	}
}

func TestWatchersAreFedWhileTheSubscriptionCannotBeOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		b := &slowBus{refuse: true}
		h := New(log, b, slog.New(slog.DiscardHandler), Options{CheckEvery: time.Hour})
		start(t, h)
		w := watch(t, h, 0)
		for i := range int64(60) {
			<-time.After(1700 * time.Millisecond)
			log.append(1, false)
			began := time.Now()
			want(t, w, 1, i+1, i+1)
			if took := time.Since(began); took > h.opt.PollEvery {
				t.Errorf("event %d came after %s", i+1, took)
			}
		}
		if n := b.calls.Load(); n < 5 || n > 12 {
			t.Errorf("tried %d times in 2 minutes", n)
		}
	})
}

func TestTheSubscriptionIsGivenUpWhenNobodyWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		b := &slowBus{}
		h := New(log, b, slog.New(slog.DiscardHandler), Options{IdleAfter: time.Minute})
		start(t, h)
		for range 10 { // somebody looks in now and then: it stays open
			w, err := h.Watch(testJob, 0)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
			w.Close()
			<-time.After(50 * time.Second)
		}
		if opened, ended := b.calls.Load(), b.ended.Load(); opened != 1 || ended != 0 {
			t.Errorf("opened %d times, given up %d times, want it open", opened, ended)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if n := b.ended.Load(); n != 1 {
			t.Errorf("given up %d times, want once", n)
		}
		w := watch(t, h, 0)
		synctest.Wait()
		if n := b.calls.Load(); n != 2 || !h.live.Load() {
			t.Errorf("opened %d times for a new watcher", n)
		}
		log.append(1, true)
		want(t, w, 1, 1, 1)
	})
}
