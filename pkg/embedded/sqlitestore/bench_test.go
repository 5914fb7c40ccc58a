package sqlitestore

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"codexgateway.dev/pkg/docstore"
)

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := newStore(b, plainSchema)
			var n atomic.Int64
			b.SetParallelism(max(1, writers/2)) // times GOMAXPROCS
			if writers == 1 {
				for b.Loop() {
					mustCommit(b, s, create(fmt.Sprintf("d%d", n.Add(1)), 1000))
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := s.Commit(b.Context(), create(fmt.Sprintf("d%d", n.Add(1)), 1000)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			s := newStore(b, plainSchema)
			const docs = 1000
			for i := range docs {
				mustCommit(b, s, create(fmt.Sprintf("d%d", i), size))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if _, err := s.Get(b.Context(), key(fmt.Sprintf("d%d", i%docs))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStoreGet is a point read as the domain makes it, through
// docstore.Store.
func BenchmarkStoreGet(b *testing.B) {
	s := newStore(b, plainSchema)
	store, err := docstore.New(s, plainSchema, docstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	mustCommit(b, s, create("d", 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := store.Get(b.Context(), key("d")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuery reads 100 event batches of 2 KB out of the log of one of many
// jobs.
func BenchmarkQuery(b *testing.B) {
	s := newStore(b, plainSchema)
	for job := range 50 {
		for part := range 4 {
			var writes []docstore.Write
			for i := range 50 {
				seq := part*50 + i
				writes = append(writes, docstore.Write{
					Op: docstore.Create, Key: key(fmt.Sprintf("job%d.%d", job, seq)),
					Data:   []byte(strings.Repeat("x", 2000)),
					Fields: docstore.Fields{"owner": fmt.Sprintf("job%d", job), "rank": int64(seq)},
				})
			}
			mustCommit(b, s, writes)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		page, err := s.Query(b.Context(), docstore.Query{
			Collection: "docs", Index: "by_rank", Equal: []any{fmt.Sprintf("job%d", i%50)}, From: int64(50), Limit: 100,
		})
		if err != nil || len(page.Docs) != 100 {
			b.Fatalf("%d documents, %v", len(page.Docs), err)
		}
	}
}
