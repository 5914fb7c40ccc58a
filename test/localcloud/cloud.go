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
)

// bucket holds the artifacts of all projects: their names are by job, and those
// are random.
const bucket = "codexgw-local"

// bootstrapTimeout is far above the second that it takes.
const bootstrapTimeout = time.Minute

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
	if c.Storage, err = gcptest.StartStorage(ctx, gcptest.StorageConfig{Buckets: []string{bucket}}); err != nil {
		return nil, err
	}
	c.Secrets, err = gcptest.StartSecrets(ctx, "")
	return c, err
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

// Project is an empty project with its topics and subscriptions and one secret,
// the model key.
type Project struct {
	cloud *Cloud
	name  string
}

// NewProject makes one, used by nobody else.
func (c *Cloud) NewProject(ctx context.Context, modelKey string) (*Project, error) {
	p := &Project{cloud: c, name: "local-" + strings.ToLower(rand.Text()[:12])}
	c.Secrets.Add(p.name, "openai-api-key", modelKey)
	return p, p.Bootstrap(ctx)
}

// Env is how a process finds the project.
func (p *Project) Env() map[string]string {
	return map[string]string{
		"CODEXGW_PLATFORM": "gcp", "GOOGLE_CLOUD_PROJECT": p.name, "CODEXGW_BUCKET": bucket,
		gcptest.PubSub.Env(): p.cloud.addrs[gcptest.PubSub], gcptest.Firestore.Env(): p.cloud.addrs[gcptest.Firestore],
		"STORAGE_EMULATOR_HOST": p.cloud.Storage.Addr, "SECRET_MANAGER_EMULATOR_HOST": p.cloud.Secrets.Addr,
	}
}

// Config is the same for a platform in this process.
func (p *Project) Config(ctx context.Context) (gcp.Config, error) {
	return chassis.Load[gcp.Config](ctx, envconfig.MapLookuper(p.Env()))
}

// Bootstrap makes the topics and the shared subscriptions, as an operator does;
// again after the Pub/Sub emulator was restarted, which has forgotten them.
func (p *Project) Bootstrap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	cfg, err := p.Config(ctx)
	if err != nil {
		return fmt.Errorf("localcloud: %w", err)
	}
	if err := gcp.Bootstrap(ctx, cfg, gcp.BootstrapOptions{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return fmt.Errorf("localcloud: %w", err)
	}
	return nil
}
