package gcptest

import (
	"context"
	"fmt"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// StorageConfig of [StartStorage]. The zero value works.
type StorageConfig struct {
	// Addr is host:port on the loopback interface; empty: a free port.
	Addr string
	// Dir keeps the objects over a restart; empty: in memory.
	Dir string
	// Buckets exist from the start.
	Buckets []string
}

// Storage is a Cloud Storage server in this process: JSON API, XML API and
// signed URLs, whose signatures and expiry it does not check.
type Storage struct {
	// Addr is host:port, the value of STORAGE_EMULATOR_HOST.
	Addr string
	*webServer
	fake *fakestorage.Server
}

// StartStorage starts a server; Stop ends it.
func StartStorage(ctx context.Context, cfg StorageConfig) (*Storage, error) {
	ln, err := listen(ctx, cfg.Addr)
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, StorageRoot: cfg.Dir, Scheme: "http",
		// Where sessions of resumable uploads and signed URLs lead.
		ExternalURL: "http://" + addr, PublicHost: addr,
	})
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("gcptest: storage: %w", err)
	}
	s := &Storage{Addr: addr, fake: fake, webServer: serveHTTP(ln, fake.HTTPHandler(), newFaults())}
	for _, name := range cfg.Buckets {
		s.CreateBucket(name)
	}
	return s, nil
}

// CreateBucket makes a bucket exist.
func (s *Storage) CreateBucket(name string) {
	s.fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: name})
}

// Stop ends the server.
func (s *Storage) Stop() error {
	err := s.webServer.Stop()
	s.fake.Stop()
	return err
}

// NewStorage is a server in memory that ends with tb.
func NewStorage(tb testing.TB, buckets ...string) *Storage {
	tb.Helper()
	s, err := StartStorage(tb.Context(), StorageConfig{Buckets: buckets})
	return ending(tb, s, err)
}

// ending stops what was started when tb ends.
func ending[S interface{ Stop() error }](tb testing.TB, s S, err error) S {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
