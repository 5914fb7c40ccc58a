package hub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/bus"
)

func TestBrokenSubscriptionIsOpenedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, b := newHub(log, Options{CheckEvery: time.Hour})
		start(t, h)
		w := watch(t, h, 0)
		<-b.opened
		b.broken <- errors.New("gone")
		log.append(1, false)
		want(t, w, 1, 1, 1)
		log.append(1, true) // while nobody listens: found when the subscription is back
		began := time.Now()
		want(t, w, -1, 2, 2)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestClosedBusEndsRun(t *testing.T) {
	t.Parallel()
	h, b := newHub(&fakeLog{}, Options{})
	done := make(chan error, 1)
	go func() { done <- h.Run(t.Context()) }()
	watch(t, h, 0)
	b.broken <- fmt.Errorf("receive: %w", bus.ErrClosed)
	if err := <-done; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Run: %v, want ErrClosed", err)
	}
}

func TestPositionCheckSparesFeedsThatHear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{CheckEvery: 5 * time.Second})
		start(t, h)
		w := watch(t, h, 0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := seqs(t.Context(), w, -1); err != nil {
				t.Error(err)
			}
		}()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		synctest.Wait()
		before := log.tails.Load()
		for i := range 20 {
			<-tick.C
			announce(t, h, log.append(1, i == 19))
		}
		<-done
		if n := log.tails.Load() - before; n != 0 {
			t.Errorf("%d position checks of a feed that hears, want 0", n)
		}
	})
}

// The last batch has nothing after it that would show its loss: only the check
// does, and it must within CheckEvery whenever the batch was lost, also right
// after news, which spares a feed the next look.
func TestLostLastBatchIsFoundInTime(t *testing.T) {
	t.Parallel()
	const every = 5 * time.Second
	for phase := time.Duration(0); phase < 2*every; phase += 700 * time.Millisecond {
		for _, news := range []time.Duration{0, time.Millisecond, every / 2} { // before the loss
			t.Run(fmt.Sprintf("%s after the start, %s after news", phase, news), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					log := &fakeLog{}
					h, _ := newHub(log, Options{CheckEvery: every})
					start(t, h)
					w := watch(t, h, 0)
					done := make(chan error, 1)
					go func() { _, err := seqs(t.Context(), w, -1); done <- err }()
					<-time.After(phase + time.Millisecond)
					announce(t, h, log.append(1, false))
					<-time.After(news)
					log.append(1, true) // and nobody is told
					began := time.Now()
					if err := <-done; err != nil {
						t.Fatal(err)
					}
					if took := time.Since(began); took > every {
						t.Errorf("found after %s, want at most %s", took, every)
					}
				})
			})
		}
	}
}

// A quiet log is looked at once in CheckEvery, not at every look of the loop.
func TestQuietFeedCostsOneCheckEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{CheckEvery: 5 * time.Second})
		start(t, h)
		w := watch(t, h, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 101*time.Second)
		defer cancel()
		before := log.tails.Load()
		if _, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if n := log.tails.Load() - before; n < 19 || n > 21 {
			t.Errorf("%d position checks in 100 s, want 20", n)
		}
	})
}
