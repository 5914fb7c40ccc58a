package platform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"gocloud.dev/blob"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/secret"
)

// checkTimeout bounds one check of one port.
const checkTimeout = 5 * time.Second

// Platform is the ports a service runs on. An adapter fills it once; nobody
// changes it afterwards. It is used by pointer only.
type Platform struct {
	Bus  *bus.Bus
	Docs *docstore.Store
	// Blobs are read, listed, deleted and signed directly; they are written
	// through WriteBlob and UploadBlob.
	Blobs   *blob.Bucket
	Secrets *secret.Secrets
	// BlobHandler serves the URLs that Blobs.SignedURL returns, which are then
	// relative ("/blobs?…"); nil when they lead elsewhere and are absolute.
	BlobHandler http.Handler
	// Release frees what the adapter holds besides the ports, after they are
	// closed; nil: nothing.
	Release func() error

	closing  sync.Once
	closeErr error
}

// Status is whether one port can serve.
type Status struct {
	// Name is "bus", "docs", "blobs" or "secrets".
	Name string
	// Err is nil when the port can serve.
	Err error
}

// Port is one port and the question whether it can serve.
type Port struct {
	// Name is "bus", "docs", "blobs" or "secrets".
	Name string
	Ping func(context.Context) error
}

// Ports lists the ports in a fixed order.
func (p *Platform) Ports() []Port {
	return []Port{
		{"bus", p.Bus.Ping},
		{"docs", p.Docs.Ping},
		{"blobs", p.pingBlobs},
		{"secrets", p.Secrets.Ping},
	}
}

// Check asks all ports at once, each for at most 5 s, and answers in a fixed
// order: for /ready.
func (p *Platform) Check(ctx context.Context) []Status {
	checks := p.Ports()
	out := make([]Status, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			out[i] = Status{Name: c.Name, Err: c.Ping(ctx)}
		})
	}
	all.Wait()
	return out
}

func (p *Platform) pingBlobs(ctx context.Context) error {
	// Not IsAccessible, which turns "not found" into false: the driver's own
	// words say which bucket is missing and what to do.
	if _, _, err := p.Blobs.ListPage(ctx, blob.FirstPageToken, 1, nil); err != nil {
		return fmt.Errorf("platform: blobs: %w", err)
	}
	return nil
}

// Close closes the ports and returns every error: the bus first, which waits
// for handlers that still use the others; what the adapter holds last. Closing
// twice returns the first answer.
func (p *Platform) Close() error {
	p.closing.Do(func() {
		errs := []error{p.Bus.Close(), p.Docs.Close(), p.Blobs.Close(), p.Secrets.Close()}
		if p.Release != nil {
			errs = append(errs, p.Release())
		}
		p.closeErr = errors.Join(errs...)
	})
	return p.closeErr
}
