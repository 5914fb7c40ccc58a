package firestoredocs_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
)

// BenchmarkDriver measures one call at a time on the emulator; p50-µs and p99-µs
// are of single calls.
func BenchmarkDriver(b *testing.B) {
	d := open(b, fakeSchema)
	data := make([]byte, 1000)
	n := 0
	create := func(b *testing.B) docstore.Key {
		b.Helper()
		n++
		k := thing(fmt.Sprintf("d%d", n))
		fields := docstore.Fields{"owner": "o", "rank": int64(n)}
		if _, err := d.Commit(b.Context(), []docstore.Write{{Op: docstore.Create, Key: k, Fields: fields, Data: data}}); err != nil {
			b.Fatal(err)
		}
		return k
	}
	measure := func(name string, call func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				call(b)
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
	measure("create", func(b *testing.B) { create(b) })
	k := create(b)
	get := func(b *testing.B) docstore.Doc {
		b.Helper()
		doc, err := d.Get(b.Context(), k)
		if err != nil {
			b.Fatal(err)
		}
		return doc
	}
	measure("get", func(b *testing.B) { get(b) })
	version := get(b).Version
	measure("compare-and-set", func(b *testing.B) {
		v, err := d.Commit(b.Context(), []docstore.Write{{Op: docstore.Replace, Key: k, Version: version, Data: data}})
		if err != nil {
			b.Fatal(err)
		}
		version = v[0]
	})
	for _, limit := range []int{1, 20} {
		measure(fmt.Sprintf("query-%d", limit), func(b *testing.B) {
			q := byRank(limit)
			q.Desc = true
			if page, err := d.Query(b.Context(), q); err != nil || len(page.Docs) != limit {
				b.Fatalf("%d documents, %v", len(page.Docs), err)
			}
		})
	}
}
