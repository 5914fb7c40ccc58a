package localcloud

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/wait"
)

// bootstrapTimeout is far above the second that it takes.
const bootstrapTimeout = 3 * time.Minute

// Cloud is what services run on.
type Cloud struct {
	// PubSub and Firestore are the emulators that Start has started; nil: the
	// environment named one, which is somebody else's to harm and to stop.
	PubSub, Firestore *gcptest.Emulator
	Storage           *gcptest.Storage
	Secrets           *gcptest.Secrets
	// addrs of the emulators, by kind.
	addrs map[gcptest.Kind]string
}

// Start starts what the environment does not name. The error is
// gcptest.ErrNoEmulators where the emulators are not installed.
func Start(ctx context.Context) (_ *Cloud, err error) {
	c := &Cloud{addrs: map[gcptest.Kind]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	for kind, own := range map[gcptest.Kind]**gcptest.Emulator{gcptest.PubSub: &c.PubSub, gcptest.Firestore: &c.Firestore} {
		if c.addrs[kind] = os.Getenv(kind.Env()); c.addrs[kind] != "" {
			continue
		}
		if *own, err = gcptest.StartEmulator(ctx, kind, ""); err != nil {
			return nil, err
		}
		c.addrs[kind] = (*own).Addr
	}
	return c, c.startServers(ctx)
}

// Reserve is a cloud with emulators of its own at these addresses, whatever the
// environment names. Nobody serves there until [Cloud.Serve].
func Reserve(ctx context.Context, pubsub, firestore string) (*Cloud, error) {
	c := &Cloud{addrs: map[gcptest.Kind]string{gcptest.PubSub: pubsub, gcptest.Firestore: firestore}}
	if err := c.startServers(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Serve starts the emulators of a cloud that was reserved; Stop ends them.
func (c *Cloud) Serve(ctx context.Context) (err error) {
	if c.PubSub, err = gcptest.StartEmulator(ctx, gcptest.PubSub, c.addrs[gcptest.PubSub]); err != nil {
		return err
	}
	c.Firestore, err = gcptest.StartEmulator(ctx, gcptest.Firestore, c.addrs[gcptest.Firestore])
	return err
}

// startServers starts what has no official emulator.
func (c *Cloud) startServers(ctx context.Context) (err error) {
	if c.Storage, err = gcptest.StartStorage(ctx, gcptest.StorageConfig{}); err != nil {
		return err
	}
	c.Secrets, err = gcptest.StartSecrets(ctx, "")
	return err
}

// Stop stops what Start has started.
func (c *Cloud) Stop() error {
	var all []error
	if c.Secrets != nil {
		all = append(all, c.Secrets.Stop())
	}
	if c.Storage != nil {
		all = append(all, c.Storage.Stop())
	}
	for _, e := range []*gcptest.Emulator{c.PubSub, c.Firestore} {
		if e != nil {
			all = append(all, e.Stop())
		}
	}
	return errors.Join(all...)
}

// Project has one secret, the model key; its topics, its subscriptions and its
// bucket are made by [Project.Bootstrap].
type Project struct {
	// Lanes is one subscription of job commands for each lane instead of one for all.
	Lanes bool

	cloud *Cloud
	name  string
}

// NewProject makes one, used by nobody else, with all that services need.
func (c *Cloud) NewProject(ctx context.Context, modelKey string) (*Project, error) {
	p := c.EmptyProject(modelKey)
	return p, p.Bootstrap(ctx)
}

// EmptyProject is one that nobody has set up.
func (c *Cloud) EmptyProject(modelKey string) *Project {
	p := &Project{cloud: c, name: "local-" + strings.ToLower(rand.Text()[:12])}
	c.Secrets.Add(p.name, "openai-api-key", modelKey)
	c.Secrets.Add(p.name, "key-pepper", "0123456789abcdef0123456789abcdef")
	return p
}

// Bucket is the name of the project's bucket: a part of the path of every
// request for it, by which a fault finds it.
func (p *Project) Bucket() string { return p.name + "-artifacts" }

// Run is the full name of a resource of the project in Cloud Run, such as
// Run("jobs", "long").
func (p *Project) Run(kind, name string) string {
	return "projects/" + p.name + "/locations/" + Region + "/" + kind + "/" + name
}

// Region is where the project's Cloud Run is.
const Region = "local1"

// PubSub is a client for what the gateway's own never does.
func (p *Project) PubSub() (*gcptest.PubSubClient, error) {
	return gcptest.NewPubSubClient(p.cloud.addrs[gcptest.PubSub], p.name)
}

// Env is how a process finds the project.
func (p *Project) Env() map[string]string {
	return map[string]string{
		"CODEXGW_PLATFORM": "gcp", "GOOGLE_CLOUD_PROJECT": p.name, "CODEXGW_BUCKET": p.Bucket(),
		gcptest.PubSub.Env(): p.cloud.addrs[gcptest.PubSub], gcptest.Firestore.Env(): p.cloud.addrs[gcptest.Firestore],
		"STORAGE_EMULATOR_HOST": p.cloud.Storage.Addr, "SECRET_MANAGER_EMULATOR_HOST": p.cloud.Secrets.Addr,
	}
}

// Config is the same for a platform in this process.
func (p *Project) Config(ctx context.Context) (gcp.Config, error) {
	return chassis.Load[gcp.Config](ctx, envconfig.MapLookuper(p.Env()))
}

// Bootstrap makes the topics, the shared subscriptions and the bucket, as an operator does;
// again after the Pub/Sub emulator was restarted, which has forgotten them.
func (p *Project) Bootstrap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	cfg, err := p.Config(ctx)
	if err != nil {
		return fmt.Errorf("localcloud: %w", err)
	}
	// On a busy machine one of the calls may take longer than it may: then all are
	// made again.
	for {
		err := gcp.Bootstrap(ctx, cfg, platform.BootstrapOptions{Lanes: p.Lanes, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			return nil
		}
		if !wait.For(ctx, time.Second) {
			return fmt.Errorf("localcloud: %w", err)
		}
	}
}
