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
	begin := make(chan struct{}) // all at once, however long it takes to start them
	for i := range publishers {
		ev := jobEvent(t, strconv.Itoa(i))
		wg.Go(func() {
			<-begin
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
	close(begin)
	wg.Wait() // nobody waits for ever
	if full < publishers-bound || unavailable == 0 {
		t.Errorf("%d full, %d unavailable", full, unavailable)
	}
}

// After an outage the library was still trying to send what its caller had given
// up on, asleep for up to half a minute, when the process was asked to end: it
// ended with an error because its platform did not close in time.
func TestCloseDoesNotWaitForWhatIsNotSent(t *testing.T) {
	t.Parallel()
	d := offline(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := d.Publish(ctx, events.TopicJobCommands, jobEvent(t, "e")); !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("error %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second): // the batch has 29 s left
		t.Error("Close waits for the batch")
		<-closed
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
