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
	create := func() error {
		n++
		fields := docstore.Fields{"owner": "o", "rank": int64(n)}
		w := docstore.Write{Op: docstore.Create, Key: thing(fmt.Sprintf("d%d", n)), Fields: fields, Data: data}
		_, err := d.Commit(b.Context(), []docstore.Write{w})
		return err
	}
	measure := func(name string, call func() error) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				if err := call(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
	measure("create", create)
	var doc docstore.Doc
	get := func() (err error) {
		doc, err = d.Get(b.Context(), thing("d1"))
		return err
	}
	measure("get", get)
	measure("compare-and-set", func() error {
		w := docstore.Write{Op: docstore.Replace, Key: doc.Key, Version: doc.Version, Data: data}
		v, err := d.Commit(b.Context(), []docstore.Write{w})
		if err == nil {
			doc.Version = v[0]
		}
		return err
	})
	for _, limit := range []int{1, 20} {
		measure(fmt.Sprintf("query-%d", limit), func() error {
			q := byRank(limit)
			q.Desc = true
			page, err := d.Query(b.Context(), q)
			if err == nil && len(page.Docs) != limit {
				err = fmt.Errorf("%d documents, want %d", len(page.Docs), limit)
			}
			return err
		})
	}
}
