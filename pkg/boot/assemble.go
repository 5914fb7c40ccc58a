package boot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
)

// Limits of the stop besides the drain: what a worker needs to hand back its
// jobs, and a platform to close its connections. Cloud Run kills 10 s after the
// signal whatever is said here; other places wait longer.
const (
	stopLimit  = 15 * time.Second
	closeLimit = 5 * time.Second
)

const (
	// checkTimeout bounds one readiness check.
	checkTimeout = 5 * time.Second
	// maxConns bounds the connections of the service's listener.
	maxConns = 1000
)

// assemble opens the platform, builds the service on it and puts them in order:
// the platform closes last, the listener serves as long as the service works.
func assemble[P, C any](ctx context.Context, rt *chassis.Runtime, p *Process[P], cfg *config[P, C], build Build[C]) (_ chassis.Service, err error) {
	parts := &Parts{Mux: http.NewServeMux(), Now: time.Now}
	parts.Platform, err = p.Open(ctx, cfg.Platform, Deps{
		Schema: schema.All(), Instance: id.New(id.Instance), LookupEnv: p.Lookup.Lookup, Mux: parts.Mux, Logger: rt.Log, Now: time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("open the platform: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, parts.Close())
		}
	}()
	if parts.Jobs, err = openJobs(rt, parts.Platform, cfg.Jobs); err != nil {
		return nil, err
	}
	svc, err := build(ctx, rt, cfg.Service, parts)
	if err != nil {
		return nil, err
	}
	for _, port := range parts.Ports() {
		rt.Health.AddCheck(port.Name, checkTimeout, port.Ping)
	}
	group := chassis.NewGroup(rt.Log, rt.Health, chassis.StopLimits{Drain: rt.DrainTimeout(), Stop: stopLimit, Close: closeLimit})
	group.Add(chassis.Component{Name: "platform", Close: func(context.Context) error { return parts.Close() }})
	if !p.OwnListener && (cfg.Listen.Addr != "" || cfg.Listen.Port != 0) {
		if err := addListener(ctx, group, rt, cfg.Listen, parts.Mux); err != nil {
			return nil, err
		}
	}
	group.Add(component(rt, svc))
	return group, nil
}

// openJobs opens the door to jobs.
func openJobs(rt *chassis.Runtime, pf *platform.Platform, cfg job.Config) (*job.Store, error) {
	limits, err := cfg.Tenants.Limits()
	if err != nil {
		return nil, err
	}
	return job.NewStore(job.Deps{
		Docs: pf.Docs, Blobs: pf.Blobs, Bus: pf.Bus, Source: "/codexgw/" + rt.Name, Now: time.Now, Logger: rt.Log,
		Limit: limits, LogRetention: cfg.LogRetention,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return pf.WriteBlob(ctx, name, data, "") },
	})
}

// addListener serves the service's routes.
func addListener(ctx context.Context, group *chassis.Group, rt *chassis.Runtime, cfg chassis.ListenConfig, mux *http.ServeMux) error {
	mux.Handle("GET /health", rt.Health.Live())
	mux.Handle("GET /ready", rt.Health.Ready())
	ln, err := chassis.Listen(ctx, cfg.Address())
	if err != nil {
		return err
	}
	group.Add(chassis.HTTPServer("http", netutil.LimitListener(ln, maxConns), paced(mux), rt.Log))
	return nil
}

// component is the service in the group. One that says when it is ready is
// asked, one that can stop taking work early is told.
func component(rt *chassis.Runtime, svc chassis.Service) chassis.Component {
	c := chassis.Component{Name: rt.Name, Run: svc.Run}
	if s, ok := svc.(interface {
		Ready(ctx context.Context) error
	}); ok {
		rt.Health.AddCheck(rt.Name, checkTimeout, s.Ready)
	}
	if s, ok := svc.(interface {
		Quiesce(ctx context.Context) error
	}); ok {
		c.Quiesce = s.Quiesce
	}
	return c
}
