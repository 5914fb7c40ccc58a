package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

const (
	growthJobs   = 20
	growthEvents = 10_000
)

// stored is what a data directory holds, in bytes.
type stored struct{ documents, blobs int64 }

func storedIn(dir string) (s stored, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case strings.HasPrefix(name, "gateway.db"):
			s.documents += info.Size()
		case strings.HasPrefix(name, "blobs"):
			s.blobs += info.Size()
		}
		return nil
	})
	return s, err
}

// measureGrowth takes what a job leaves in the store: the same data directory is
// looked at twice while no gateway runs, so nothing is left in a log of the
// database; between the two, jobs were run.
func measureGrowth(ctx context.Context, b *bench) ([]figure, error) {
	helloDir := filepath.Join(b.dir, "growth-hello")
	hello, err := growth(helloDir, growthJobs, func(n int) error { return b.runHellos(ctx, helloDir, n) })
	if err != nil {
		return nil, err
	}
	logDir := filepath.Join(b.dir, "growth-log")
	log, err := growth(logDir, growthEvents, func(n int) error { return b.runLog(ctx, "growth-log", n) })
	if err != nil {
		return nil, err
	}
	of := func(name string, s stored, per float64) figure {
		documents, blobs := float64(s.documents)/per/1024, float64(s.blobs)/per/1024
		return informative(name, documents+blobs, "KiB", int(per), map[string]any{"documents_kib": round(documents), "blobs_kib": round(blobs)})
	}
	return []figure{
		of("store_per_hello_job", hello, growthJobs),
		of("store_per_1000_events", log, growthEvents/1000),
	}, nil
}

// growth runs a little, then n, and returns what n added.
func growth(dir string, n int, run func(n int) error) (stored, error) {
	if err := run(2); err != nil {
		return stored{}, err
	}
	before, err := storedIn(dir)
	if err != nil {
		return stored{}, err
	}
	if err := run(n); err != nil {
		return stored{}, err
	}
	after, err := storedIn(dir)
	return stored{after.documents - before.documents, after.blobs - before.blobs}, err
}

// runHellos runs hello jobs in a gateway of their own.
func (b *bench) runHellos(ctx context.Context, dir string, n int) (err error) {
	g, err := b.up(ctx, dir, "127.0.0.1:0", nil, "--mock-model")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for range n {
		if _, err := s.hello(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runLog runs one job of n events.
func (b *bench) runLog(ctx context.Context, name string, n int) (err error) {
	g, err := b.startEdge(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	var jobID string
	return errors.Join(g.say(fmt.Sprintf("finished %d %d", n, logBatch)), answer(ctx, g, &jobID))
}
