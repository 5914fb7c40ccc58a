package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

// Config of the notifier.
type Config struct {
	Concurrency int           `env:"CODEXGW_NOTIFIER_CONCURRENCY,default=16" min:"1" max:"1000" doc:"Messages the notifier handles at once."`
	CountEvery  time.Duration `env:"CODEXGW_NOTIFIER_COUNT_EVERY,default=1m" min:"1s" doc:"Time between two log lines (level debug) with the number of messages of each type."`
}

// Validate implements chassis.Validator.
func (c *Config) Validate() []error {
	if c.Concurrency <= 0 || c.CountEvery <= 0 {
		return []error{errors.New("CODEXGW_NOTIFIER_CONCURRENCY and CODEXGW_NOTIFIER_COUNT_EVERY must be positive")}
	}
	return nil
}

// Deps of the notifier; all are required.
type Deps struct {
	Bus    bus.Receiver
	Logger *slog.Logger
}

// Service hears until its context ends.
type Service struct {
	cfg Config
	Deps

	mu    sync.Mutex
	heard map[string]int // messages by type since the last log line
}

// New returns a service, or says what is missing or wrong.
func New(cfg Config, d Deps) (*Service, error) {
	if d.Bus == nil || d.Logger == nil {
		return nil, errors.New("notifier: Bus and Logger are required")
	}
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, fmt.Errorf("notifier: %w", err)
	}
	return &Service{cfg: cfg, Deps: d, heard: map[string]int{}}, nil
}

// Run hears messages until ctx ends, through a bus that comes and goes. An error
// means that the subscription can never be opened.
func (s *Service) Run(ctx context.Context) error {
	counting, stop := context.WithCancel(ctx)
	defer stop()
	var counter sync.WaitGroup
	counter.Go(func() { s.count(counting) })
	err := bus.Keep(ctx, s.Bus, events.SubJobLifecycleNotifier, bus.KeepOptions{
		MaxOutstanding: s.cfg.Concurrency, Logger: s.Logger,
	}, s.handle)
	stop()
	counter.Wait()
	if err != nil {
		return fmt.Errorf("notifier: %w", err)
	}
	return nil
}

// handle takes one message.
func (s *Service) handle(_ context.Context, d *bus.Delivery) bus.Outcome {
	if _, err := events.Decode(&d.Event); err != nil {
		return bus.Outcome{Verdict: bus.Reject, Reason: "undecodable: " + err.Error()}
	}
	s.mu.Lock()
	s.heard[d.Event.Type()]++ // decoded, so it is one of a few known types
	s.mu.Unlock()
	return bus.Outcome{Verdict: bus.Ack}
}

// count logs what was heard, at intervals and at the end.
func (s *Service) count(ctx context.Context) {
	tick := time.NewTicker(s.cfg.CountEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.logCounts(ctx)
		case <-ctx.Done():
			s.logCounts(ctx)
			return
		}
	}
}

func (s *Service) logCounts(ctx context.Context) {
	s.mu.Lock()
	heard := s.heard
	s.heard = map[string]int{}
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(heard)) {
		s.Logger.DebugContext(ctx, "messages taken", slog.String("event_type", name), slog.Int("count", heard[name]))
	}
}
