package hub

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// outrun stores and announces far more than the ring holds.
func outrun(t *testing.T, h *Hub, log *fakeLog) {
	t.Helper()
	for range 10 {
		announce(t, h, log.append(10, false))
	}
}

// pace reads up to a seq as a reader does that takes a time for each batch.
func pace(t *testing.T, w *Watcher, to int64, each time.Duration) error {
	t.Helper()
	for w.cursor < to {
		if _, err := w.Next(t.Context()); err != nil {
			return err
		}
		<-time.After(each)
	}
	return nil
}

func TestSlowWatcher(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		// live: the watcher has seen the end of the log before it falls behind.
		live bool
		each time.Duration
		want error
	}{
		{"live, behind for good", true, 3 * time.Second, ErrSlow},
		{"live, behind but in time", true, time.Second, nil},
		{"reads history as slowly as it likes", false, time.Minute, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{page: 10}
				h, _ := newHub(log, Options{RingBytes: 100, CheckEvery: time.Hour})
				start(t, h)
				log.append(1, false)
				slow, fast := watch(t, h, 0), watch(t, h, 0)
				want(t, slow, 1, 1, 1)
				if tc.live {
					waits(t, h, log, slow)
				}
				last := int64(len(log.events))
				outrun(t, h, log)
				began := time.Now()
				want(t, fast, int(last)+100, 1, last+100)
				if took := time.Since(began); took != 0 {
					t.Errorf("a fast watcher beside it took %s", took)
				}
				err := pace(t, slow, last+100, tc.each)
				if !errors.Is(err, tc.want) {
					t.Fatalf("%v, want %v", err, tc.want)
				}
				if tc.want == nil {
					return
				}
				if _, again := slow.Next(t.Context()); !errors.Is(again, ErrSlow) {
					t.Errorf("after the end: %v, want ErrSlow", again)
				}
				// It resumes at what it has, without a gap.
				want(t, watch(t, h, slow.cursor), int(last+100-slow.cursor), slow.cursor+1, last+100)
			})
		})
	}
}

// waits lets a watcher come to the end of the log and wait there.
func waits(t *testing.T, h *Hub, log *fakeLog, w *Watcher) {
	t.Helper()
	done := make(chan error, 1)
	go func() { _, err := w.Next(t.Context()); done <- err }()
	synctest.Wait()
	announce(t, h, log.append(1, false))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A watcher that is live again may take its time anew.
func TestLagIsForgottenOnceLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{page: 10}
		h, _ := newHub(log, Options{RingBytes: 100, CheckEvery: time.Hour})
		start(t, h)
		log.append(1, false)
		w := watch(t, h, 0)
		want(t, w, 1, 1, 1)
		for range 3 {
			waits(t, h, log, w)
			outrun(t, h, log)
			if err := pace(t, w, int64(len(log.events)), 900*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What the store takes is not the reader's fault.
func TestSlowStoreMakesNoSlowWatcher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{page: 10}
		h, _ := newHub(log, Options{RingBytes: 100, CheckEvery: time.Hour})
		start(t, h)
		log.append(1, false)
		w := watch(t, h, 0)
		want(t, w, 1, 1, 1)
		waits(t, h, log, w)
		outrun(t, h, log)
		log.gate = make(chan struct{})
		for range 3 {
			go func() { <-time.After(8 * time.Second); log.gate <- struct{}{} }()
			if _, err := w.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
