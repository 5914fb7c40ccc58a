package node

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gocloud.dev/blob/fileblob"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/edge"
	"codexgateway.dev/services/reconciler"
	"codexgateway.dev/services/worker"
	"codexgateway.dev/test/chaos/internal/remote"
	"codexgateway.dev/test/chaos/internal/wire"
)

// Roles of a node, as Run takes them.
const (
	RoleHost       = "host"
	RoleEdge       = "edge"
	RoleWorker     = "worker"
	RoleReconciler = "reconciler"
)

// Options are a node's arguments.
type Options struct {
	Role string
	// Dir is the campaign's: documents, blobs and the host's socket are in it.
	Dir string
	// Skew is how far the node's clock is ahead.
	Skew time.Duration
	// ClaimDelay is how long a queued job waits before it is announced again.
	ClaimDelay time.Duration
	// Cloud means that the platform is Google Cloud, as the environment says,
	// and not the campaign's host.
	Cloud bool
	// Seed, Faults and BreakFence are for the host.
	Seed       uint64
	Faults     wire.Faults
	BreakFence bool
}

// Is reports whether a program was started with these arguments to be a node.
func Is(args []string) bool {
	if len(args) < 2 {
		return false
	}
	switch args[1] {
	case RoleHost, RoleEdge, RoleWorker, RoleReconciler:
		return true
	}
	return false
}

// Args are the arguments that make Run a node with these options.
func (o *Options) Args() ([]string, error) {
	faults, err := json.Marshal(o.Faults)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	return []string{
		o.Role, "-dir", o.Dir, "-skew", o.Skew.String(), "-claim-delay", o.ClaimDelay.String(),
		"-seed", strconv.FormatUint(o.Seed, 10), "-faults", string(faults), fmt.Sprintf("-break-fence=%t", o.BreakFence), fmt.Sprintf("-cloud=%t", o.Cloud),
	}, nil
}

// Socket is where the host of a campaign's directory listens. The path of a
// unix socket has little room, so it is short.
func Socket(dir string) string { return filepath.Join(dir, "host") }

// Run is the process: it returns the exit code.
func Run(ctx context.Context, args []string, stderr io.Writer) int {
	o := Options{Role: args[0]}
	var faults string
	flags := flag.NewFlagSet(o.Role, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Dir, "dir", "", "the campaign's directory")
	flags.DurationVar(&o.Skew, "skew", 0, "how far this clock is ahead")
	flags.DurationVar(&o.ClaimDelay, "claim-delay", time.Second, "how long a queued job waits before it is announced again")
	flags.Uint64Var(&o.Seed, "seed", 1, "the seed of the host's dice")
	flags.StringVar(&faults, "faults", "{}", "what the host does wrong, as JSON")
	flags.BoolVar(&o.BreakFence, "break-fence", false, "let the event log be overwritten")
	flags.BoolVar(&o.Cloud, "cloud", false, "the platform is Google Cloud")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	if err := json.Unmarshal([]byte(faults), &o.Faults); err != nil {
		_, _ = fmt.Fprintln(stderr, "faults:", err)
		return 2
	}
	process := chassis.Process{Name: o.Role, Log: stderr}
	switch o.Role {
	case RoleHost:
		return chassis.Main(ctx, process, o.host)
	case RoleEdge:
		return chassis.Main(ctx, process, o.edge)
	case RoleWorker:
		return chassis.Main(ctx, process, o.worker)
	default:
		return chassis.Main(ctx, process, o.reconciler)
	}
}

// now is the node's clock.
func (o *Options) now() time.Time { return time.Now().Add(o.Skew) }

// parts is what a service is built on.
type parts struct {
	*platform.Platform

	jobs  *job.Store
	group *chassis.Group
}

// platform connects to the host, or to the cloud.
func (o *Options) platform(ctx context.Context, rt *chassis.Runtime) (*platform.Platform, error) {
	if o.Cloud {
		cfg, err := chassis.Load[gcp.Config](ctx, nil)
		if err != nil {
			return nil, err
		}
		return gcp.Open(ctx, cfg, gcp.Deps{Schema: schema.All(), Instance: id.New(id.Worker), Logger: rt.Log, Now: o.now, LookupEnv: os.LookupEnv})
	}
	at := remote.At(Socket(o.Dir))
	docs, err := docstore.New(at.Docs(), schema.All(), docstore.Options{Logger: rt.Log})
	if err != nil {
		return nil, err
	}
	bucket, err := fileblob.OpenBucket(filepath.Join(o.Dir, "blobs"), &fileblob.Options{NoTempDir: true, CreateDir: true, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("node: blobs: %w", err)
	}
	return &platform.Platform{
		Bus: bus.New(at.Bus(), bus.Options{Logger: rt.Log, Now: o.now}), Docs: docs, Blobs: bucket,
		Secrets: secret.New(envsecret.New(envsecret.Options{LookupEnv: os.LookupEnv, Logger: rt.Log}), secret.Options{Logger: rt.Log}),
		Release: func() error { at.Close(); return nil },
	}, nil
}

// open makes what every service is built on.
func (o *Options) open(ctx context.Context, rt *chassis.Runtime) (*parts, error) {
	pf, err := o.platform(ctx, rt)
	if err != nil {
		return nil, err
	}
	cfg, err := chassis.Load[job.Config](ctx, nil)
	if err != nil {
		return nil, errors.Join(err, pf.Close())
	}
	jobs, err := job.Open(pf, cfg, job.Opening{Service: o.Role, Now: o.now, Logger: rt.Log, ClaimDelay: o.ClaimDelay})
	if err != nil {
		return nil, errors.Join(err, pf.Close())
	}
	group := rt.NewGroup()
	group.Add(chassis.Component{Name: "platform", Close: func(context.Context) error { return pf.Close() }})
	return &parts{Platform: pf, jobs: jobs, group: group}, nil
}

func (o *Options) edge(ctx context.Context, rt *chassis.Runtime, cfg edge.Config) (chassis.Service, error) {
	p, err := o.open(ctx, rt)
	if err != nil {
		return nil, err
	}
	svc, err := edge.New(cfg, edge.Deps{
		Jobs: p.jobs, Docs: p.Docs, Bus: p.Bus, Secrets: p.Secrets, Blobs: p.Blobs, Health: rt.Health, Logger: rt.Log, Now: o.now, Version: rt.Build.Version,
	})
	return p.with(RoleEdge, svc, err)
}

func (o *Options) worker(ctx context.Context, rt *chassis.Runtime, cfg worker.Config) (chassis.Service, error) {
	p, err := o.open(ctx, rt)
	if err != nil {
		return nil, err
	}
	svc, err := worker.New(cfg, worker.Deps{
		Jobs: p.jobs, Bus: p.Bus, Secrets: p.Secrets, Logger: rt.Log.With(slog.Int("pid", os.Getpid())), Now: o.now,
		Version: rt.Build.Version, Hide: []string{o.Dir},
	})
	return p.with(RoleWorker, svc, err)
}

func (o *Options) reconciler(ctx context.Context, rt *chassis.Runtime, cfg reconciler.Config) (chassis.Service, error) {
	p, err := o.open(ctx, rt)
	if err != nil {
		return nil, err
	}
	cfg.AnnounceAtStart = !o.Cloud // the host's bus forgets, as that of codexgw up does
	svc, err := reconciler.New(cfg, reconciler.Deps{Jobs: p.jobs, Docs: p.Docs, Logger: rt.Log, Now: o.now})
	return p.with(RoleReconciler, svc, err)
}

// with adds the service that was built, or undoes the parts if it was not.
func (p *parts) with(name string, svc chassis.Service, err error) (chassis.Service, error) {
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.group.Add(chassis.Component{Name: name, Run: svc.Run})
	return p.group, nil
}
