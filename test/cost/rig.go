package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/reconciler"
	"codexgateway.dev/services/worker"
	"codexgateway.dev/test/localcloud"
)

// Times of a deployment on Google Cloud that cost something, as the services
// have them there by default.
const (
	lease         = 90 * time.Second
	deltaDelay    = 100 * time.Millisecond
	reconcile     = 5 * time.Second
	reconcileIdle = time.Minute
)

// adminKey is for loopback only.
const adminKey = "cgw_cost_report"

// startLimit and jobLimit end what hangs.
const (
	startLimit = time.Minute
	jobLimit   = 5 * time.Minute
)

// rig is an edge, a worker and a reconciler in this process, each with clients
// of its own that one meter sees.
type rig struct {
	*client.Client

	meter meter.Meter
	// faster divides all times that follow the clock.
	faster  int
	project *localcloud.Project
	codex   string
	dir     string
	log     *slog.Logger

	group  *chassis.Group
	health *chassis.Health
	ended  chan error
	stop   context.CancelFunc
}

// newRig starts a gateway whose clock-bound times run faster.
func newRig(ctx context.Context, cloud *localcloud.Cloud, model *mockmodel.Running, codex, dir string, faster int) (*rig, error) {
	r := &rig{faster: faster, codex: codex, dir: dir, log: slog.New(slog.NewTextHandler(io.Discard, nil)), ended: make(chan error, 1)}
	var err error
	if r.project, err = cloud.NewProject(ctx, "no-key-is-needed"); err != nil {
		return nil, err
	}
	r.health = chassis.NewHealth(r.log)
	r.group = chassis.NewGroup(r.log, r.health, chassis.StopLimits{Stop: 15 * time.Second, Close: 5 * time.Second})
	front, err := r.services(ctx, model.BaseURL())
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	go func() { r.ended <- r.group.Run(life) }() // ends with stop
	select {
	case <-front.Ready():
	case err := <-r.ended:
		return nil, fmt.Errorf("the gateway ended at its start: %w", err)
	case <-time.After(startLimit):
		return nil, errors.Join(errors.New("the gateway was not ready"), r.end())
	}
	r.Client, err = client.New(client.Options{URL: "http://" + front.Addr().String(), Key: secret.NewValue(adminKey), Timeout: startLimit})
	return r, err
}

// end stops the gateway.
func (r *rig) end() error {
	r.stop()
	return <-r.ended
}

// env is the configuration of all services.
func (r *rig) env(modelURL string) envconfig.Lookuper {
	quick := func(d time.Duration) string { return max(d/time.Duration(r.faster), time.Millisecond).String() }
	return envconfig.MapLookuper(map[string]string{
		"CODEXGW_ADDR": "127.0.0.1:0", "CODEXGW_ADMIN_KEY": adminKey,
		"CODEXGW_WORKER_DIR": filepath.Join(r.dir, "jobs"), "CODEXGW_CODEX": r.codex, "CODEXGW_MODEL_BASE_URL": modelURL,
		"CODEXGW_WORKER_WARM": "1", "CODEXGW_WORKER_CONCURRENCY": "2",
		"CODEXGW_LEASE": quick(lease), "CODEXGW_DELTA_DELAY": quick(deltaDelay),
		"CODEXGW_RECONCILE_INTERVAL": quick(reconcile), "CODEXGW_RECONCILE_IDLE_INTERVAL": quick(reconcileIdle),
	})
}

// platform opens a platform that is metered.
func (r *rig) platform(ctx context.Context, name string) (*platform.Platform, *job.Store, error) {
	cfg, err := r.project.Config(ctx)
	if err != nil {
		return nil, nil, err
	}
	pf, err := gcp.Open(ctx, cfg, gcp.Deps{
		Schema: schema.All(), Instance: name, Logger: r.log,
		DocsOptions: r.meter.GRPC(), BusOptions: r.meter.GRPC(), SecretsOptions: r.meter.GRPC(), WrapHTTP: r.meter.HTTP,
	})
	if err != nil {
		return nil, nil, err
	}
	r.group.Add(chassis.Component{Name: "platform of " + name, Close: func(context.Context) error { return pf.Close() }})
	jobs, err := job.NewStore(job.Deps{
		Docs: pf.Docs, Blobs: pf.Blobs, Bus: pf.Bus, Source: "/codexgw/" + name, Now: time.Now, Logger: r.log, LogRetention: time.Hour,
		PutBlob: func(ctx context.Context, name string, data []byte) error { return pf.WriteBlob(ctx, name, data, "") },
	})
	return pf, jobs, err
}

func (r *rig) services(ctx context.Context, modelURL string) (*edge.Service, error) {
	env := r.env(modelURL)
	edgeConfig, err1 := chassis.Load[edge.Config](ctx, env)
	workerConfig, err2 := chassis.Load[worker.Config](ctx, env)
	repairConfig, err3 := chassis.Load[reconciler.Config](ctx, env)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	pf, jobs, err := r.platform(ctx, "worker")
	if err != nil {
		return nil, err
	}
	work, err := worker.New(workerConfig, worker.Deps{
		Jobs: jobs, Bus: pf.Bus, Secrets: pf.Secrets, Logger: r.log, Now: time.Now, Version: "cost", Hide: []string{r.dir},
	})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "worker", Run: work.Run})
	if pf, jobs, err = r.platform(ctx, "reconciler"); err != nil {
		return nil, err
	}
	repair, err := reconciler.New(repairConfig, reconciler.Deps{Jobs: jobs, Docs: pf.Docs, Logger: r.log, Now: time.Now})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "reconciler", Run: repair.Run})
	if pf, jobs, err = r.platform(ctx, "edge"); err != nil {
		return nil, err
	}
	front, err := edge.New(edgeConfig, edge.Deps{
		Jobs: jobs, Bus: pf.Bus, Blobs: pf.Blobs, Health: r.health, Logger: r.log, Now: time.Now, Version: "cost",
	})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "worker is ready", Start: work.Ready})
	r.group.Add(chassis.Component{Name: "edge", Run: front.Run})
	return front, nil
}

// run runs one job to its end, watched by one client, with its answer and one
// artifact read; it returns how many events there were.
func (r *rig) run(ctx context.Context, prompt string) (events int, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	p, err := r.Prompt(ctx, apiv1.PromptParams{Prompt: prompt, IdempotencyKey: fmt.Sprint(time.Now().UnixNano())})
	if err != nil {
		return 0, err
	}
	id := p.Accepted.JobID
	if _, err := r.Watch(ctx, id, 0, func(apiv1.Event) error { events++; return nil }); err != nil {
		return events, err
	}
	done, err := r.GetJob(ctx, id)
	if err == nil && done.Status != apiv1.StatusCompleted {
		err = fmt.Errorf("the job ended as %s: %+v", done.Status, done.Error)
	}
	return events, err
}

// scratch is a directory where Codex may work.
func scratch() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(cache, "codexgw-cost-")
}
