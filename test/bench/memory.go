package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"codexgateway.dev/pkg/wait"
)

// footprint is what a process holds after a collection. All but RSS is what the
// Go runtime says; the sizes are in KiB.
type footprint struct {
	RSS        float64 `json:"rss_kib"`
	Stacks     float64 `json:"stacks_kib"`
	Objects    float64 `json:"objects_kib"`
	Unused     float64 `json:"unused_kib"`
	Metadata   float64 `json:"metadata_kib"`
	Goroutines float64 `json:"goroutines"`
}

// memorySettles is how long a process is left alone before it is measured: what
// has just ended must be gone.
const memorySettles = 2 * time.Second

// memory collects garbage, gives free memory back and says what is left.
func (e *edgeProcess) memory(ctx context.Context) error {
	if !wait.For(ctx, memorySettles) {
		return context.Cause(ctx)
	}
	for range 2 {
		runtime.GC() // stacks shrink and pools empty in two steps
	}
	debug.FreeOSMemory()
	rss, _, err := memory(ctx, os.Getpid())
	if err != nil {
		return err
	}
	read := func(names ...string) (sum float64) {
		samples := make([]metrics.Sample, len(names))
		for i, name := range names {
			samples[i].Name = name
		}
		metrics.Read(samples)
		for _, s := range samples {
			if s.Value.Kind() == metrics.KindUint64 {
				sum += float64(s.Value.Uint64())
			}
		}
		return sum
	}
	return e.reply("", footprint{
		RSS:        rss * 1024,
		Stacks:     read("/memory/classes/heap/stacks:bytes") / 1024,
		Objects:    read("/memory/classes/heap/objects:bytes") / 1024,
		Unused:     read("/memory/classes/heap/unused:bytes") / 1024,
		Metadata:   read("/memory/classes/metadata/mspan/inuse:bytes", "/memory/classes/metadata/other:bytes") / 1024,
		Goroutines: read("/sched/goroutines:goroutines"),
	})
}

// per is what each of n things added to a footprint.
func (f footprint) per(n int, before footprint) map[string]any {
	each := func(after, before float64) float64 { return round((after - before) / float64(n)) }
	return map[string]any{
		"stacks_kib": each(f.Stacks, before.Stacks), "objects_kib": each(f.Objects, before.Objects),
		"unused_kib": each(f.Unused, before.Unused), "metadata_kib": each(f.Metadata, before.Metadata),
		"goroutines": each(f.Goroutines, before.Goroutines), "before_rss_kib": before.RSS,
	}
}
