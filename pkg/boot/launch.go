package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/schema"
)

const (
	// checkTimeout bounds one readiness check.
	checkTimeout = 5 * time.Second
	// maxConns bounds the connections of the service's listener.
	maxConns = 1000
)

// launch is a service with all that is around it. It listens before it opens
// anything, so that whoever waits for the port is not told to wait for more.
type launch[P, C any] struct {
	rt      *chassis.Runtime
	process *Process[P]
	cfg     *config[P, C]
	build   Build[C]

	parts Parts
	svc   chassis.Service
	// built lets requests through to parts.Mux.
	built atomic.Bool
}

// Run implements chassis.Service: the platform closes last, the listener serves
// as long as the service works.
func (l *launch[P, C]) Run(ctx context.Context) error {
	l.parts = Parts{Mux: http.NewServeMux(), Now: time.Now}
	group := l.rt.NewGroup()
	if l.process.OwnListener || l.cfg.Listen.Addr != "" || l.cfg.Listen.Port != 0 {
		ln, err := chassis.Listen(ctx, l.cfg.Listen.Address())
		if err != nil {
			return err
		}
		group.Add(l.listener(ln))
	}
	group.Add(chassis.Component{
		Name: "platform", Start: l.open,
		Close: func(context.Context) error { return l.parts.Close() },
	})
	group.Add(chassis.Component{
		Name: l.rt.Name, Start: l.start, Quiesce: l.quiesce,
		Run: func(ctx context.Context) error { return l.svc.Run(ctx) },
	})
	return group.Run(ctx)
}

// listener serves ln, or keeps it for a service that does.
func (l *launch[P, C]) listener(ln net.Listener) chassis.Component {
	if !l.process.OwnListener {
		return chassis.HTTPServer("http", netutil.LimitListener(ln, maxConns), paced(l.front()), l.rt.Log)
	}
	l.parts.Listener = ln
	return chassis.Component{Name: "listener", Close: func(context.Context) error {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // a service that served has closed it
			return fmt.Errorf("close listener: %w", err)
		}
		return nil
	}}
}

// front answers for the service from the first moment. What comes before it is
// built is asked to come again: a push that found no route would be lost to the
// dead letters after a few tries.
func (l *launch[P, C]) front() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /health", l.rt.Health.Live())
	mux.Handle("GET /ready", l.rt.Health.Ready())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !l.built.Load() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the service starts", http.StatusServiceUnavailable)
			return
		}
		l.parts.Mux.ServeHTTP(w, r)
	})
	return mux
}

// open opens the platform, and the jobs on it.
func (l *launch[P, C]) open(ctx context.Context) error {
	pf, err := l.process.Open(ctx, l.cfg.Platform, Deps{
		Schema: schema.All(), Instance: id.New(id.Instance), LookupEnv: l.process.Lookup.Lookup,
		Mux: l.parts.Mux, Logger: l.rt.Log, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("open the platform: %w", err)
	}
	jobs, err := job.Open(pf, l.cfg.Jobs, job.Opening{Service: l.rt.Name, Now: time.Now, Logger: l.rt.Log})
	if err != nil {
		return errors.Join(err, pf.Close())
	}
	l.parts.Platform, l.parts.Jobs = pf, jobs
	for _, port := range pf.Ports() {
		l.rt.Health.AddCheck(port.Name, checkTimeout, port.Ping)
	}
	return nil
}

// start builds the service. One that says when it is ready is asked from then on.
func (l *launch[P, C]) start(ctx context.Context) error {
	svc, err := l.build(ctx, l.rt, l.cfg.Service, &l.parts)
	if err != nil {
		return err
	}
	if s, ok := svc.(interface {
		Ready(ctx context.Context) error
	}); ok {
		l.rt.Health.AddCheck(l.rt.Name, checkTimeout, s.Ready)
	}
	l.svc = svc
	l.built.Store(true)
	return nil
}

// quiesce tells a service that can stop taking work early.
func (l *launch[P, C]) quiesce(ctx context.Context) error {
	if s, ok := l.svc.(interface {
		Quiesce(ctx context.Context) error
	}); ok {
		return s.Quiesce(ctx)
	}
	return nil
}
