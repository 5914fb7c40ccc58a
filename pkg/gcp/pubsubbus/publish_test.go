package pubsubbus_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// What waits to be sent is bounded, and nobody waits longer than asked.
func TestPublishingToNowhereIsBounded(t *testing.T) {
	t.Parallel()
	d := offline(t, nil)
	const publishers, bound = 1500, 1000
	var wg sync.WaitGroup
	var mu sync.Mutex
	full, unavailable := 0, 0
	began := time.Now()
	for i := range publishers {
		ev := jobEvent(t, strconv.Itoa(i))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			err := d.Publish(ctx, events.TopicJobCommands, ev)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, bus.ErrFull):
				full++
			case errors.Is(err, bus.ErrUnavailable):
				unavailable++
			default:
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if full < publishers-bound || unavailable == 0 {
		t.Errorf("%d full, %d unavailable", full, unavailable)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("publishes with a deadline of 3 s took %v", took)
	}
}

func TestPublishRefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	d := offline(t, nil)
	ev := jobEvent(t, "e")
	ev.SetSubject("\xff")
	if err := d.Publish(t.Context(), events.TopicJobCommands, ev); !errors.Is(err, bus.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
}
