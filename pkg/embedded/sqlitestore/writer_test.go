package sqlitestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
)

// hold keeps the writer from beginning a transaction until release is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	db := raw(t, s.path)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "BEGIN IMMEDIATE")
	return func() {
		mustExec(t, conn, "ROLLBACK")
		_ = conn.Close()
		_ = db.Close()
	}
}

// enqueue hands writes to the writer as Commit does, without waiting.
func enqueue(t *testing.T, s *Store, writes []docstore.Write) *request {
	t.Helper()
	r, err := s.request(writes)
	if err != nil {
		t.Fatal(err)
	}
	s.writer.queue <- r
	return r
}

// One failing precondition takes back its own commit, whole, and leaves its
// neighbours in the batch alone.
func TestBatchIsolatesAFailedCommit(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	taken := mustCommit(t, s, create("taken", 1))
	release := hold(t, s)
	first := enqueue(t, s, create("first", 1)) // the writer waits with this one
	good := enqueue(t, s, append(create("a", 1), create("b", 1)...))
	bad := enqueue(t, s, append(create("c", 1), append(create("taken", 2), create("d", 1)...)...))
	single := enqueue(t, s, create("taken", 3))
	last := enqueue(t, s, append(create("c", 2), create("e", 1)...))
	release()
	for _, r := range []*request{first, good, last} {
		if <-r.done; r.err != nil {
			t.Errorf("a good commit: %v", r.err)
		}
	}
	var conflict *docstore.ConflictError
	if <-bad.done; !errors.As(bad.err, &conflict) || conflict.Index != 1 || conflict.Key != key("taken") {
		t.Errorf("the bad commit: %v", bad.err)
	}
	if <-single.done; !errors.Is(single.err, docstore.ErrConflict) {
		t.Errorf("the bad single write: %v", single.err)
	}
	for id, want := range map[string]bool{"first": true, "a": true, "b": true, "c": true, "d": false, "e": true} {
		doc, err := s.Get(t.Context(), key(id))
		if want != (err == nil) {
			t.Errorf("%s: %v", id, err)
		}
		if id == "c" && len(doc.Data) != 2 {
			t.Errorf("c is of the commit that failed")
		}
	}
	if doc, err := s.Get(t.Context(), key("taken")); err != nil || doc.Version != taken[0] {
		t.Errorf("taken: %+v, %v", doc, err)
	}
}

// A commit whose context ends in the queue is never applied.
func TestCommitAbandonedInTheQueueIsNotApplied(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	release := hold(t, s)
	first := enqueue(t, s, create("first", 1))
	// The writer has taken the first when the queue is empty again.
	for len(s.writer.queue) > 0 || first.state.Load() != taken {
		yield(t, s)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client left")
	result := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, create("abandoned", 1))
		result <- err
	}()
	for len(s.writer.queue) == 0 {
		yield(t, s)
	}
	cancel(cause)
	err := <-result
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || errors.Is(err, docstore.ErrUnavailable) {
		t.Errorf("commit: %v, want the context's error and its cause only", err)
	}
	release()
	mustCommit(t, s, create("after", 1)) // behind the abandoned one
	if _, err := s.Get(t.Context(), key("abandoned")); !errors.Is(err, docstore.ErrNotFound) {
		t.Errorf("get: %v, want not found", err)
	}
}

// A commit whose context ends while it is being applied has an unknown result,
// goes on, and its data may be changed by the caller at once.
func TestCommitCutShortIsUnknown(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	release := hold(t, s)
	writes := create("cut", 1000)
	r := enqueue(t, s, writes)
	for r.state.Load() != taken {
		yield(t, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.await(ctx)
	if !errors.Is(err, docstore.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v, want unavailable and the context's error", err)
	}
	for i := range writes[0].Data {
		writes[0].Data[i] = 0xff
	}
	release()
	if <-r.done; r.err != nil {
		t.Fatal(r.err)
	}
	doc, err := s.Get(t.Context(), key("cut"))
	if err != nil || !bytes.Equal(doc.Data, make([]byte, 1000)) {
		t.Fatalf("the caller's later change was written, %v", err)
	}
}

// yield lets other goroutines go on by doing something that takes a moment.
func yield(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseDrainsTheQueue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	s := mustOpen(t, path, plainSchema)
	release := hold(t, s)
	var requests []*request
	for i := range 2 * maxBatch {
		requests = append(requests, enqueue(t, s, create(fmt.Sprintf("d%d", i), 10)))
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		if <-r.done; r.err != nil {
			t.Fatalf("commit: %v", r.err)
		}
	}
	s = mustOpen(t, path, plainSchema)
	defer closeStore(t, s)
	if docs := all(t, s, docstore.Query{Collection: "docs", Index: "by_rank", Equal: []any{"o"}}); len(docs) != len(requests) {
		t.Fatalf("%d documents, want %d", len(docs), len(requests))
	}
}

func TestFullQueueWaitsForTheContext(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	release := hold(t, s)
	// All that the writer may have taken, and a full queue.
	for i := range maxBatch + queueLength + 1 {
		if r, err := s.request(create(fmt.Sprintf("d%d", i), 1)); err != nil {
			t.Fatal(err)
		} else if !offer(s, r) {
			break
		}
	}
	for offer(s, mustRequest(t, s, create("filler", 1))) {
		yield(t, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := s.Commit(ctx, create("one-too-many", 1))
		result <- err
	}()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v, want the context's error", err)
	}
	release()
}

func mustRequest(t *testing.T, s *Store, writes []docstore.Write) *request {
	t.Helper()
	r, err := s.request(writes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func offer(s *Store, r *request) bool {
	select {
	case s.writer.queue <- r:
		return true
	default:
		return false
	}
}

// A full disk refuses what does not fit and nothing else, loses nothing, and is
// over when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	s := mustOpen(t, path, plainSchema)
	defer func() { closeStore(t, s) }()
	mustExec(t, s.writer.conn, "PRAGMA max_page_count = 200") // 800 KiB
	var kept []string
	var err error
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk never fills")
		}
		id := fmt.Sprintf("d%04d", i)
		if _, err = s.Commit(t.Context(), append(create(id, 10_000), create(id+"-2", 100)...)); err == nil {
			kept = append(kept, id)
		}
	}
	if !errors.Is(err, docstore.ErrFull) {
		t.Fatalf("commit: %v, want full", err)
	}
	// In one batch, what fits is applied beside what does not.
	release := hold(t, s)
	first := enqueue(t, s, create("small-1", 10))
	large := enqueue(t, s, create("large", 500_000))
	small := enqueue(t, s, create("small-2", 10))
	release()
	if <-large.done; !errors.Is(large.err, docstore.ErrFull) {
		t.Errorf("large: %v, want full", large.err)
	}
	<-first.done
	<-small.done
	if first.err != nil || small.err != nil {
		t.Errorf("small: %v, %v", first.err, small.err)
	}
	if n := len(all(t, s, docstore.Query{Collection: "docs", Index: "by_rank", Equal: []any{"o"}})); n != 2*len(kept)+2 {
		t.Errorf("%d documents, want %d", n, 2*len(kept)+2)
	}

	// Room again: by deletion, then by a larger disk.
	for _, id := range kept[:5] {
		doc, err := s.Get(t.Context(), key(id))
		if err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, []docstore.Write{{Op: docstore.Delete, Key: doc.Key, Version: doc.Version}})
	}
	mustCommit(t, s, create("in-freed-space", 30_000))
	mustExec(t, s.writer.conn, "PRAGMA max_page_count = %d", math.MaxInt32)
	mustCommit(t, s, create("large", 500_000))
	closeStore(t, s)
	checkIntegrity(t, path)
	s = mustOpen(t, path, plainSchema)
}

// Versions are never given twice: not after a restart, not by two stores on one
// file, not after a failed batch.
func TestVersionsNeverRepeat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	seen := make(map[docstore.Version]bool)
	n := 0
	add := func(s *Store) {
		n++
		v := mustCommit(t, s, create(fmt.Sprintf("d%d", n), 1))[0]
		if seen[v] || v <= 0 {
			t.Fatalf("version %d came again", v)
		}
		seen[v] = true
	}
	for range 3 {
		one, two := mustOpen(t, path, plainSchema), mustOpen(t, path, plainSchema)
		for range 5 {
			add(one)
			add(two)
			if _, err := one.Commit(t.Context(), append(create("d1", 1), create("x", 1)...)); !errors.Is(err, docstore.ErrConflict) {
				t.Fatal(err)
			}
		}
		closeStore(t, one)
		closeStore(t, two)
	}
	// Past the end of a reserved block.
	s := newStore(t, plainSchema)
	mustCommit(t, s, create("a", 1))
	s.writer.next = s.writer.limit - 1 // the writer is idle
	v1 := mustCommit(t, s, create("b", 1))[0]
	v2 := mustCommit(t, s, append(create("c", 1), create("d", 1)...))
	if v2[0] <= v1 || v2[1] <= v2[0] {
		t.Fatalf("versions %d, %v", v1, v2)
	}
}

// Readers that always overlap keep SQLite from ever starting its log over; the
// writer sees to it.
func TestWriteAheadLogStaysBounded(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	path := filepath.Join(t.TempDir(), "docs.db")
	s, err := open(t.Context(), path, plainSchema, Options{Logger: slog.New(slog.DiscardHandler)}, walLimits{size: limit, patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	for i := range 20 {
		mustCommit(t, s, create(fmt.Sprintf("seed-%d", i), 5000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range defaultReaders {
		wg.Go(func() {
			q := docstore.Query{Collection: "docs", Index: "by_rank", Equal: []any{"o"}, To: int64(50_000), Limit: 50}
			for ctx.Err() == nil {
				if _, err := s.Query(ctx, q); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var most int64
	for i := range 60 { // 30 MB
		mustCommit(t, s, create(fmt.Sprintf("d%d", i), 500_000))
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Size())
	}
	cancel()
	wg.Wait()
	// The limit, what one batch adds, and a quarter more for each refused try.
	if most > 3*limit {
		t.Fatalf("the log grew to %d bytes, limit %d", most, limit)
	}
	t.Logf("the log's largest size was %d bytes", most)
}

// While a reader keeps an old state the log has to grow; afterwards it shrinks.
func TestWriteAheadLogShrinksAfterALongReader(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20
	path := filepath.Join(t.TempDir(), "docs.db")
	s, err := open(t.Context(), path, plainSchema, Options{}, walLimits{size: limit, patience: walPatience})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	mustCommit(t, s, create("a", 1))
	reader := raw(t, path)
	mustExec(t, reader, "BEGIN DEFERRED")
	if text(t, reader, "SELECT count(*) FROM doc_docs") != "1" {
		t.Fatal("the reader sees another state")
	}
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for i := range 6 {
		mustCommit(t, s, create(fmt.Sprintf("d%d", i), 900_000))
	}
	if size() < 2*limit {
		t.Fatalf("the log has %d bytes although the reader needs them", size())
	}
	_ = reader.Close()
	for i := 0; size() > limit; i++ {
		if i > 10 {
			t.Fatalf("the log still has %d bytes", size())
		}
		mustCommit(t, s, create(fmt.Sprintf("e%d", i), 900_000))
	}
}

// A writer connection that went bad is replaced.
func TestWriterReconnects(t *testing.T) {
	t.Parallel()
	s := newStore(t, plainSchema)
	mustCommit(t, s, create("a", 1))
	mustExec(t, s.writer.conn, "BEGIN") // a transaction that the writer does not know of
	_, err := s.Commit(t.Context(), create("b", 1))
	if !errors.Is(err, docstore.ErrUnavailable) {
		t.Fatalf("commit: %v, want unavailable", err)
	}
	mustCommit(t, s, create("b", 1))
}
