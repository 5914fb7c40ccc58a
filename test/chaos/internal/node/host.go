package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/embedded/membus"
	"codexgateway.dev/pkg/embedded/sqlitestore"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/test/chaos/internal/host"
)

// host is the store host: the embedded platform's documents and bus.
func (o *Options) host(ctx context.Context, rt *chassis.Runtime, _ struct{}) (chassis.Service, error) {
	docs, err := sqlitestore.Open(ctx, filepath.Join(o.Dir, "gateway.db"), schema.All(), sqlitestore.Options{Logger: rt.Log})
	if err != nil {
		return nil, fmt.Errorf("node: documents: %w", err)
	}
	// Subscriptions of services that do not run here would only fill.
	var subs []events.Subscription
	for _, s := range events.Subscriptions {
		switch s.Name {
		case events.SubJobCommandsWorker, events.SubJobProgressEdge, events.SubJobControlWorker, events.SubKeyControlEdge:
			subs = append(subs, s)
		}
	}
	messages := membus.New(events.Topics, subs, membus.Options{Logger: rt.Log})
	ln, err := host.Listen(ctx, Socket(o.Dir))
	if err != nil {
		return nil, errors.Join(err, messages.Close(), docs.Close())
	}
	h := host.New(host.Options{
		Docs: docs, Bus: messages, Seed: o.Seed, Faults: o.Faults, BreakFence: o.BreakFence, Logger: rt.Log,
	})
	group := rt.NewGroup()
	group.Add(chassis.Component{Name: "drivers", Close: func(context.Context) error {
		return errors.Join(messages.Close(), docs.Close())
	}})
	group.Add(chassis.Component{Name: "host", Run: func(ctx context.Context) error { return h.Serve(ctx, ln) }})
	return group, nil
}
