package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testJob = "job_test"

func TestWatcherSeesLogThenLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{})
		start(t, h)
		log.append(3, false)
		w := watch(t, h, 0)
		want(t, w, 3, 1, 3)
		announce(t, h, log.append(2, false))
		want(t, w, 2, 4, 5)
		announce(t, h, log.append(1, true))
		want(t, w, -1, 6, 6)
		if b, err := w.Next(t.Context()); err != nil || !b.Closed || len(b.Events) != 0 {
			t.Errorf("after the end: %+v, %v; want closed and empty", b, err)
		}
		if n := log.reads.Load(); n != 1 {
			t.Errorf("%d reads, want 1: the rest was live", n)
		}
	})
}

// Whatever happens to the announcements, the position check at the latest
// brings everything.
func TestAnnouncementsOnlyHint(t *testing.T) {
	t.Parallel()
	type batches = []*events.JobProgressed
	for name, mangle := range map[string]func(batches) batches{
		"all lost":  func(batches) batches { return nil },
		"one lost":  func(b batches) batches { return append(b[:1:1], b[2:]...) },
		"last lost": func(b batches) batches { return b[:len(b)-1] },
		"doubled":   func(b batches) batches { return append(append(b[:2:2], b...), b...) },
		"backwards": func(b batches) batches { return batches{b[3], b[2], b[1], b[0]} },
		"swapped":   func(b batches) batches { return batches{b[0], b[2], b[1], b[3]} },
		"no events": func(b batches) batches { b[1].Events, b[3].Events = nil, nil; return b },
		"too few":   func(b batches) batches { b[1].Events = b[1].Events[:1]; return b },
		"other's": func(b batches) batches {
			return append(b, &events.JobProgressed{JobID: "job_other", FirstSeq: 1, LastSeq: 1})
		},
		"beyond end": func(b batches) batches {
			return append(b[:2:2], &events.JobProgressed{JobID: testJob, FirstSeq: 90, LastSeq: 99})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{}
				h, _ := newHub(log, Options{})
				start(t, h)
				w := watch(t, h, 0)
				got := make(chan []int64, 1)
				go func() {
					s, err := seqs(t.Context(), w, -1)
					if err != nil {
						t.Error(err)
					}
					got <- s
				}()
				synctest.Wait() // the watcher waits
				all := batches{log.append(2, false), log.append(3, false), log.append(1, false), log.append(2, true)}
				began := time.Now()
				for _, p := range mangle(all) {
					announce(t, h, p)
					synctest.Wait()
				}
				if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8}, <-got); diff != "" {
					t.Errorf("seqs (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("took %s, want two position checks at most", took)
				}
			})
		})
	}
}

// A batch that is announced after the watcher registered but before it read
// the log is in both: it is seen once.
func TestJoinRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{gate: make(chan struct{})}
		h, _ := newHub(log, Options{})
		start(t, h)
		log.append(4, false)
		w := watch(t, h, 0)
		got := make(chan []int64, 1)
		go func() {
			s, err := seqs(t.Context(), w, 8)
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		synctest.Wait() // the read has begun
		announce(t, h, log.append(2, false))
		close(log.gate) // and returns 1 to 6
		synctest.Wait()
		announce(t, h, log.append(2, false))
		if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7, 8}, <-got); diff != "" {
			t.Errorf("seqs (-want +got):\n%s", diff)
		}
		if n := log.reads.Load(); n != 1 {
			t.Errorf("%d reads, want 1", n)
		}
	})
}

func TestWatchersShareReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{gate: make(chan struct{})}
		h, _ := newHub(log, Options{})
		start(t, h)
		log.append(50, false)
		const watchers = 100
		var done sync.WaitGroup
		for range watchers {
			w := watch(t, h, 0)
			done.Go(func() {
				if got, err := seqs(t.Context(), w, -1); err != nil || len(got) != 70 {
					t.Errorf("%d events, %v; want 70", len(got), err)
				}
			})
		}
		synctest.Wait()
		close(log.gate)
		synctest.Wait()
		announce(t, h, log.append(10, false))
		synctest.Wait()
		log.append(5, false) // lost: all see the same gap
		announce(t, h, log.append(5, true))
		done.Wait()
		if n := log.reads.Load(); n != 2 {
			t.Errorf("%d reads for %d watchers, want 2: the start and the gap", n, watchers)
		}
	})
}

func TestLateWatcherIsServedFromMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{})
		start(t, h)
		log.append(50, false)
		want(t, watch(t, h, 0), 50, 1, 50)
		announce(t, h, log.append(1, false))
		want(t, watch(t, h, 0), 51, 1, 51)
		want(t, watch(t, h, 30), 21, 31, 51)
		if n := log.reads.Load(); n != 1 {
			t.Errorf("%d reads, want 1", n)
		}
	})
}

func TestSlowWatcherReadsWhatTheRingForgot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{RingBytes: 100})
		start(t, h)
		slow, fast := watch(t, h, 0), watch(t, h, 0)
		for i := range int64(200) {
			announce(t, h, log.append(1, i == 199))
			want(t, fast, 1, i+1, i+1)
		}
		want(t, slow, -1, 1, 200)
		f := slow.feed
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.ring.bytes > 100 {
			t.Errorf("the ring holds %d bytes, want at most 100", f.ring.bytes)
		}
	})
}

func TestWatchFromAnyPoint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		after  int64
		closed bool
		want   int
	}{
		{"from the start of a closed log", 0, true, 10},
		{"from the middle", 4, true, 6},
		{"at the end", 10, true, 0},
		{"beyond the end", 99, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{page: 3}
				h, _ := newHub(log, Options{})
				start(t, h)
				log.append(10, tc.closed)
				got, err := seqs(t.Context(), watch(t, h, tc.after), -1)
				if err != nil || len(got) != tc.want {
					t.Errorf("%d events, %v; want %d", len(got), err, tc.want)
				}
			})
		})
	}
}

// A watcher that claims to have seen more than there is must not keep others
// of the same job from what there is.
func TestWatcherBeyondTheEndHarmsNobody(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed=%t", closed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{}
				h, _ := newHub(log, Options{RingBytes: 1})
				start(t, h)
				log.append(5, closed)
				honest := watch(t, h, 5)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				liar := watch(t, h, 999)
				go func() { _, _ = liar.Next(ctx) }()
				go func() { _, _ = honest.Next(ctx) }()
				synctest.Wait()
				want(t, watch(t, h, 0), 5, 1, 5)
				if closed {
					want(t, watch(t, h, 3), -1, 4, 5)
				}
				<-ctx.Done()
				synctest.Wait()
				if n := log.reads.Load(); n > 10 {
					t.Errorf("%d reads: somebody reads in circles", n)
				}
			})
		})
	}
}

// What one watcher learns of the log must not make another one miss something:
// the first watcher reads once, then the second has to come to the end without
// any announcement or position check.
func TestSecondWatcherMissesNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		closed        bool
		first, second int64
		want          int
	}{
		{"first read only a page", false, 0, 7, 3},
		{"first was at the end", false, 10, 0, 10},
		{"first claimed too much of a closed log", true, 999, 10, 0},
		{"first claimed too much, second is in the middle", true, 999, 4, 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := &fakeLog{page: 3}
				h, _ := newHub(log, Options{CheckEvery: time.Hour, RingBytes: 1})
				start(t, h)
				log.append(10, tc.closed)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				first := watch(t, h, tc.first)
				go func() { _, _ = first.Next(ctx) }()
				synctest.Wait()
				n := tc.want
				if tc.closed {
					n = -1
				}
				got, err := seqs(ctx, watch(t, h, tc.second), n)
				if err != nil || len(got) != tc.want {
					t.Errorf("%d events, %v; want %d", len(got), err, tc.want)
				}
			})
		})
	}
}

// An announcement of what the log does not have costs one read, not a loop.
func TestAnnouncementOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		h, _ := newHub(log, Options{CheckEvery: time.Hour})
		start(t, h)
		log.append(2, false)
		w := watch(t, h, 0)
		want(t, w, 2, 1, 2)
		got := make(chan error, 1)
		go func() {
			_, err := seqs(t.Context(), w, -1)
			got <- err
		}()
		synctest.Wait()
		announce(t, h, &events.JobProgressed{JobID: testJob, FirstSeq: 90, LastSeq: 99})
		synctest.Wait()
		if n := log.reads.Load(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}
		announce(t, h, log.append(1, true))
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	t.Run("reading fails, later works", func(t *testing.T) {
		t.Parallel()
		log := &fakeLog{err: eventlog.ErrGap}
		log.append(1, true)
		h, _ := newHub(log, Options{})
		start(t, h)
		w := watch(t, h, 0)
		if _, err := w.Next(t.Context()); !errors.Is(err, eventlog.ErrGap) {
			t.Errorf("%v, want ErrGap", err)
		}
		log.mu.Lock()
		log.err = nil
		log.mu.Unlock()
		want(t, w, -1, 1, 1)
	})
	t.Run("the caller ends, the shared read goes on", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			log := &fakeLog{gate: make(chan struct{})}
			h, _ := newHub(log, Options{})
			start(t, h)
			log.append(1, true)
			gone, stays := watch(t, h, 0), watch(t, h, 0)
			cause := errors.New("gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			failed := make(chan error, 1)
			go func() { _, err := gone.Next(ctx); failed <- err }()
			synctest.Wait()
			cancel(cause)
			if err := <-failed; !errors.Is(err, cause) {
				t.Errorf("%v, want the cause", err)
			}
			close(log.gate)
			want(t, stays, -1, 1, 1)
			if n := log.reads.Load(); n != 1 {
				t.Errorf("%d reads, want 1", n)
			}
		})
	})
	t.Run("too many watchers", func(t *testing.T) {
		t.Parallel()
		h, _ := newHub(&fakeLog{}, Options{MaxWatchers: 1})
		w := watch(t, h, 0)
		if _, err := h.Watch(testJob, 0); errs.CodeOf(err) != errs.Overloaded {
			t.Errorf("%v, want overloaded", err)
		}
		w.Close()
		w.Close()
		watch(t, h, 0)
	})
	t.Run("the hub ends", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h, _ := newHub(&fakeLog{}, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- h.Run(ctx) }()
			w := watch(t, h, 0)
			failed := make(chan error, 1)
			go func() { _, err := w.Next(t.Context()); failed <- err }()
			synctest.Wait()
			cancel()
			if err := <-failed; !errors.Is(err, ErrStopped) {
				t.Errorf("%v, want ErrStopped", err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := h.Watch(testJob, 0); !errors.Is(err, ErrStopped) {
				t.Errorf("Watch: %v, want ErrStopped", err)
			}
			if _, err := w.Next(t.Context()); !errors.Is(err, ErrStopped) {
				t.Errorf("Next: %v, want ErrStopped", err)
			}
		})
	})
}

func TestFeedGoesWithItsLastWatcher(t *testing.T) {
	t.Parallel()
	h, _ := newHub(&fakeLog{}, Options{})
	a, b := watch(t, h, 0), watch(t, h, 0)
	if n := len(h.all()); n != 1 {
		t.Errorf("%d feeds, want 1", n)
	}
	a.Close()
	b.Close()
	if n := len(h.all()); n != 0 {
		t.Errorf("%d feeds, want 0", n)
	}
}

// TestAnyHistory is the guarantee itself: over random logs, random loss,
// doubling and reordering of announcements, random ring sizes and random
// starting points, each watcher sees every later event once and in order.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		log := &fakeLog{page: rapid.IntRange(1, 20).Draw(r, "page")}
		h, _ := newHub(log, Options{RingBytes: rapid.IntRange(1, 400).Draw(r, "ring")})
		ctx, cancel := context.WithCancel(context.Background())
		var watchers sync.WaitGroup
		defer watchers.Wait()
		defer h.stop()
		defer cancel()

		var failed atomic.Pointer[error]
		var starts []int64
		join := func() {
			after := rapid.Int64Range(0, int64(len(log.events))).Draw(r, "after")
			w, err := h.Watch(testJob, after)
			if err != nil {
				r.Fatal(err)
			}
			starts = append(starts, after)
			watchers.Go(func() {
				defer w.Close()
				got, err := seqs(ctx, w, -1)
				if err == nil {
					log.mu.Lock()
					defer log.mu.Unlock()
					if wanted := len(log.events) - int(after); len(got) != wanted {
						err = fmt.Errorf("after %d: %d events, want %d", after, len(got), wanted)
					}
				}
				if err != nil {
					failed.Store(&err)
				}
			})
		}
		var inFlight []*events.JobProgressed
		steps := rapid.IntRange(1, 60).Draw(r, "steps")
		for range steps {
			switch rapid.IntRange(0, 9).Draw(r, "step") {
			case 0, 1:
				join()
			case 2, 3, 4:
				p := log.append(rapid.IntRange(1, 7).Draw(r, "events"), false)
				if rapid.Bool().Draw(r, "bare") {
					p.Events = nil
				}
				inFlight = append(inFlight, p)
			case 5, 6, 7: // some announcement arrives, perhaps again
				if len(inFlight) > 0 {
					i := rapid.IntRange(0, len(inFlight)-1).Draw(r, "which")
					announceTo(r, h, inFlight[i])
				}
			case 8: // some announcement is lost
				if len(inFlight) > 0 {
					i := rapid.IntRange(0, len(inFlight)-1).Draw(r, "lost")
					inFlight = append(inFlight[:i], inFlight[i+1:]...)
				}
			case 9:
				h.check(ctx, h.all())
			}
		}
		join()
		last := log.append(1, true)
		if rapid.Bool().Draw(r, "end announced") {
			announceTo(r, h, last)
		}
		h.check(ctx, h.all()) // the position check that comes in any case
		watchers.Wait()
		if err := failed.Load(); err != nil {
			r.Fatalf("watchers at %v: %v", starts, *err)
		}
	})
}

func announceTo(r *rapid.T, h *Hub, p *events.JobProgressed) {
	ev, err := events.New(events.Head{ID: "evt", Source: "/test", Subject: p.JobID, Time: time.Unix(0, 0)}, p)
	if err != nil {
		r.Fatal(err)
	}
	h.handle(context.Background(), &bus.Delivery{Event: ev})
}
