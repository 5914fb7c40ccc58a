package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/gcp/meter"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/notifier"
	"codexgateway.dev/services/worker"
	"codexgateway.dev/test/localcloud"
)

// adminKey is for loopback only.
const adminKey = "cgw_cost_report"

// startLimit and jobLimit end what hangs.
const (
	startLimit = 4 * time.Minute
	jobLimit   = 10 * time.Minute
)

// rig is an edge, a worker and a notifier in this process, each with clients of
// its own that one meter sees. There is no reconciler: what that one reads
// depends on the time and not on the jobs, see sweeps.
type rig struct {
	*client.Client

	meter   meter.Meter
	project *localcloud.Project
	bench   *bench
	log     *slog.Logger

	group  *chassis.Group
	health *chassis.Health
	ended  chan error
	stop   context.CancelFunc
}

// newRig starts a gateway.
func newRig(ctx context.Context, b *bench) (*rig, error) {
	r := &rig{bench: b, log: slog.New(slog.DiscardHandler), ended: make(chan error, 1)}
	var err error
	if r.project, err = b.cloud.NewProject(ctx, "no-key-is-needed"); err != nil {
		return nil, err
	}
	r.health = chassis.NewHealth(r.log)
	r.group = chassis.NewGroup(r.log, r.health, chassis.StopLimits{Stop: 15 * time.Second, Close: 5 * time.Second})
	front, err := r.services(ctx)
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

// env is the configuration of all services: that of the cloud.
func (r *rig) env() envconfig.Lookuper {
	env := boot.Defaults()
	maps.Copy(env, map[string]string{
		"CODEXGW_ADDR": "127.0.0.1:0", "CODEXGW_ADMIN_KEY": adminKey,
		"CODEXGW_WORKER_DIR": filepath.Join(r.bench.dir, "jobs"), "CODEXGW_CODEX": r.bench.codex, "CODEXGW_MODEL_BASE_URL": r.bench.model.BaseURL(),
		"CODEXGW_WORKER_WARM": "1", "CODEXGW_WORKER_CONCURRENCY": "1",
		// No heartbeat while a job is played, however slow the machine is: those of
		// its real time are added, see heartbeats.
		"CODEXGW_LEASE": "10m",
	})
	return envconfig.MapLookuper(env)
}

// commitTakes is added to each commit, which takes the emulator a few
// milliseconds and Firestore some tens: what is said meanwhile is one batch.
const commitTakes = 20 * time.Millisecond

// openMetered opens a platform that is metered, and the jobs on it.
func openMetered(ctx context.Context, project *localcloud.Project, name string, m *meter.Meter, now func() time.Time) (*platform.Platform, *job.Store, error) {
	cfg, err := project.Config(ctx)
	if err != nil {
		return nil, nil, err
	}
	keep, err := chassis.Load[job.Config](ctx, envconfig.MapLookuper(boot.Defaults()))
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	pf, err := gcp.Open(ctx, cfg, gcp.Deps{
		Schema: schema.All(), Instance: name, Logger: log,
		DocsOptions: append(m.GRPC(), meter.SlowCommits(commitTakes)), BusOptions: m.GRPC(), SecretsOptions: m.GRPC(), WrapHTTP: m.HTTP,
	})
	if err != nil {
		return nil, nil, err
	}
	jobs, err := job.Open(pf, keep, job.Opening{Service: name, Now: now, Logger: log})
	if err != nil {
		return nil, nil, errors.Join(err, pf.Close())
	}
	return pf, jobs, nil
}

// open opens a platform that closes with the gateway.
func (r *rig) open(ctx context.Context, name string) (*platform.Platform, *job.Store, error) {
	pf, jobs, err := openMetered(ctx, r.project, name, &r.meter, time.Now)
	if err == nil {
		r.group.Add(chassis.Component{Name: "platform of " + name, Close: func(context.Context) error { return pf.Close() }})
	}
	return pf, jobs, err
}

func (r *rig) services(ctx context.Context) (*edge.Service, error) {
	env := r.env()
	edgeConfig, err1 := chassis.Load[edge.Config](ctx, env)
	workerConfig, err2 := chassis.Load[worker.Config](ctx, env)
	notifierConfig, err3 := chassis.Load[notifier.Config](ctx, env)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	pf, _, err := r.open(ctx, "notifier")
	if err != nil {
		return nil, err
	}
	tell, err := notifier.New(notifierConfig, notifier.Deps{Bus: pf.Bus, Logger: r.log})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "notifier", Run: tell.Run})
	pf, jobs, err := r.open(ctx, "worker")
	if err != nil {
		return nil, err
	}
	work, err := worker.New(workerConfig, worker.Deps{
		Jobs: jobs, Bus: pf.Bus, Secrets: pf.Secrets, Logger: r.log, Now: time.Now, Version: "cost", Hide: []string{r.bench.dir},
	})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "worker", Run: work.Run})
	if pf, jobs, err = r.open(ctx, "edge"); err != nil {
		return nil, err
	}
	front, err := edge.New(edgeConfig, edge.Deps{
		Jobs: jobs, Docs: pf.Docs, Bus: pf.Bus, Secrets: pf.Secrets, Blobs: pf.Blobs, Health: r.health, Logger: r.log, Now: time.Now, Version: "cost",
	})
	if err != nil {
		return nil, err
	}
	r.group.Add(chassis.Component{Name: "worker is ready", Start: work.Ready})
	r.group.Add(chassis.Component{Name: "edge", Run: front.Run})
	return front, nil
}

// run runs one job to its end, watched by one client, which then reads its
// answer; it returns how many events there were.
func (r *rig) run(ctx context.Context, prompt string) (events int, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	p, err := r.Prompt(ctx, apiv1.PromptParams{Prompt: prompt, IdempotencyKey: rand.Text()})
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
