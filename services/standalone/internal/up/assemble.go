package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/reconciler"
	"codexgateway.dev/services/worker"
)

// mockKey is the name of the mock model's "key", which is no secret.
const mockKey = "mock-model-key"

// settingsOf are the configurations of the services, loaded together so that
// everything wrong is reported at once.
type settingsOf struct {
	edge       edge.Config
	worker     worker.Config
	reconciler reconciler.Config
	jobs       job.Config
}

// Assemble composes the embedded platform, the edge, the worker and the
// reconciler into one service.
func Assemble(ctx context.Context, rt *chassis.Runtime, p Parts) (_ chassis.Service, err error) {
	cfg, err := loadSettings(ctx, p.Env)
	if err != nil {
		return nil, err
	}
	group := rt.NewGroup()
	pf, err := openPlatform(ctx, rt, &p)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pf.Close())
		}
	}()
	group.Add(chassis.Component{Name: "platform", Close: func(context.Context) error { return pf.Close() }})
	if p.MockModel {
		model, err := mockmodel.Start(context.WithoutCancel(ctx), mockmodel.Options{})
		if err != nil {
			return nil, err
		}
		cfg.worker.ModelBaseURL, cfg.worker.ModelKeySecret = model.BaseURL(), mockKey
		group.Add(chassis.Component{Name: "mock model", Close: model.Stop})
	}
	return group, addServices(group, rt, &p, pf, cfg)
}

func loadSettings(ctx context.Context, env envconfig.Lookuper) (*settingsOf, error) {
	var s settingsOf
	var problems [4]error
	s.edge, problems[0] = chassis.Load[edge.Config](ctx, env)
	s.worker, problems[1] = chassis.Load[worker.Config](ctx, env)
	s.reconciler, problems[2] = chassis.Load[reconciler.Config](ctx, env)
	s.jobs, problems[3] = chassis.Load[job.Config](ctx, env)
	return &s, errors.Join(problems[:]...)
}

// openPlatform opens the data directory. Subscriptions of services that do not
// run here are left out: their backlog would fill with nobody to empty it.
func openPlatform(ctx context.Context, rt *chassis.Runtime, p *Parts) (*platform.Platform, error) {
	var subs []events.Subscription
	for _, s := range events.Subscriptions {
		switch s.Name {
		case events.SubJobCommandsWorker, events.SubJobProgressEdge, events.SubJobControlWorker, events.SubKeyControlEdge:
			subs = append(subs, s)
		}
	}
	pf, err := embedded.Open(ctx, embedded.Config{
		Dir: p.DataDir, Schema: schema.All(), Subscriptions: subs, Logger: rt.Log,
		LookupEnv: func(name string) (string, bool) {
			if p.MockModel && name == "CODEXGW_SECRET_MOCK_MODEL_KEY" {
				return "no-key-is-needed", true
			}
			return p.LookupEnv(name)
		},
	})
	if err != nil {
		return nil, err
	}
	rt.Health.AddCheck("platform", readyTimeout, func(ctx context.Context) error {
		var all []error
		for _, s := range pf.Check(ctx) {
			if s.Err != nil {
				all = append(all, fmt.Errorf("%s: %w", s.Name, s.Err))
			}
		}
		return errors.Join(all...)
	})
	return pf, nil
}

// readyTimeout bounds one readiness check.
const readyTimeout = 5 * time.Second

// addServices builds the services. The edge comes last: it starts when the
// others can take work, and stops first.
func addServices(group *chassis.Group, rt *chassis.Runtime, p *Parts, pf *platform.Platform, cfg *settingsOf) error {
	store := func(service string) (*job.Store, error) {
		return job.Open(pf, cfg.jobs, job.Opening{Service: service, Now: time.Now, Logger: rt.Log.With(slog.String("part", service))})
	}
	jobs, err := store("worker")
	if err != nil {
		return err
	}
	work, err := worker.New(cfg.worker, worker.Deps{
		Jobs: jobs, Bus: pf.Bus, Secrets: pf.Secrets, Logger: rt.Log.With(slog.String("part", "worker")),
		Now: time.Now, Version: rt.Build.Version, Hide: []string{p.DataDir},
	})
	if err != nil {
		return err
	}
	group.Add(chassis.Component{Name: "worker", Run: work.Run})
	rt.Health.AddCheck("worker", readyTimeout, work.Ready)

	if jobs, err = store("reconciler"); err != nil {
		return err
	}
	cfg.reconciler.AnnounceAtStart = true // this bus forgets
	repair, err := reconciler.New(cfg.reconciler, reconciler.Deps{
		Jobs: jobs, Docs: pf.Docs, Logger: rt.Log.With(slog.String("part", "reconciler")), Now: time.Now,
	})
	if err != nil {
		return err
	}
	group.Add(chassis.Component{Name: "reconciler", Run: repair.Run})

	if jobs, err = store("edge"); err != nil {
		return err
	}
	cfg.edge.AdminKey = p.AdminKey
	if v, ok := p.LookupEnv("CODEXGW_KEY_ENV"); !ok || v == "" {
		cfg.edge.KeyEnv = keyEnv
	}
	front, err := edge.New(cfg.edge, edge.Deps{
		Jobs: jobs, Docs: pf.Docs, Bus: pf.Bus, Secrets: pf.Secrets, Blobs: pf.Blobs, BlobHandler: pf.BlobHandler, Listener: p.Listener,
		Health: rt.Health, Logger: rt.Log.With(slog.String("part", "edge")), Now: time.Now, Version: rt.Build.Version,
	})
	if err != nil {
		return err
	}
	group.Add(chassis.Component{Name: "edge", Run: front.Run})
	return nil
}
