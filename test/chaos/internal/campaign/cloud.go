package campaign

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/localcloud"
)

// cloud is Google Cloud on this machine, whose emulators are harmed.
type cloud struct {
	*localcloud.Cloud

	project *localcloud.Project
	log     *slog.Logger

	// One pause or restart at a time: a paused process that is killed and started
	// anew would be resumed by the wrong step.
	busy sync.Mutex
}

func startCloud(ctx context.Context, log *slog.Logger) (*cloud, error) {
	on, err := localcloud.Start(ctx)
	if err != nil {
		return nil, err
	}
	if on.PubSub == nil || on.Firestore == nil {
		return nil, errors.Join(errors.New("campaign: it harms the emulators: unset PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST"), on.Stop())
	}
	project, err := on.NewProject(ctx, "no-key-is-needed")
	if err != nil {
		return nil, errors.Join(err, on.Stop())
	}
	return &cloud{Cloud: on, project: project, log: log}, nil
}

// pause stops an emulator for a time.
func (c *cloud) pause(ctx context.Context, e *gcptest.Emulator, d time.Duration) bool {
	c.busy.Lock()
	defer c.busy.Unlock()
	if e.Pause() != nil {
		return false
	}
	wait.For(ctx, d)
	return e.Resume() == nil
}

// restart loses everything that Pub/Sub holds, and makes the topics again.
func (c *cloud) restart(ctx context.Context) bool {
	c.busy.Lock()
	defer c.busy.Unlock()
	// The campaign may end meanwhile: it needs its topics all the same, to settle.
	ctx = context.WithoutCancel(ctx)
	err := c.PubSub.Restart(ctx)
	if err == nil {
		err = c.project.Bootstrap(ctx)
	}
	if err != nil {
		c.log.ErrorContext(ctx, "Pub/Sub was not started again", slog.Any("error", err))
	}
	return err == nil
}
