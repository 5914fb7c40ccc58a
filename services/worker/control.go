package worker

import (
	"context"
	"fmt"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// controlOutstanding bounds control messages handled at once; each is a map
// lookup.
const controlOutstanding = 64

// hearControl hears the job-control topic from the first job on: a worker that
// has had none holds no subscription. Wishes of before are in the control
// documents, which every run looks at when it starts, and again when the
// subscription begins to hear.
func (s *Service) hearControl(ctx context.Context) error {
	select {
	case <-s.running:
	case <-ctx.Done():
		return nil
	}
	err := bus.Keep(ctx, s.Bus, events.SubJobControlWorker, bus.KeepOptions{
		MaxOutstanding: controlOutstanding, Logger: s.Logger,
		Opened: func(context.Context) { s.runner.PokeAll() },
	}, s.control)
	if err != nil {
		return fmt.Errorf("worker: receive %s: %w", events.SubJobControlWorker, err)
	}
	return nil
}

// control handles one message of the job-control topic: every worker hears it,
// the one that runs the job looks at the job's control document.
func (s *Service) control(_ context.Context, d *bus.Delivery) bus.Outcome {
	s.runner.Poke(d.Event.Subject())
	return bus.Outcome{Verdict: bus.Ack}
}
