package firestoredocs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/gcp/firestoredocs"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/wait"
)

// hang ends a wait for what must come.
const hang = 2 * time.Minute

func store(tb testing.TB, d docstore.Driver, timeout time.Duration) *docstore.Store {
	tb.Helper()
	s, err := docstore.New(d, fakeSchema, docstore.Options{Timeout: timeout})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// The emulator of this test is its own: it is away at the start, stops and is
// killed.
func TestFirestoreGoesAndComesBack(t *testing.T) {
	t.Parallel()
	addr := freeport.Addr()
	d := openConfig(t, firestoredocs.Config{Project: project(), Emulator: addr}, fakeSchema)
	s := store(t, d, time.Second)
	is(t, "ping of nobody", s.Ping(t.Context()), docstore.ErrUnavailable)
	createIn := func(s *docstore.Store, id string) error {
		_, err := s.Commit(t.Context(), []docstore.Write{{Op: docstore.Create, Key: thing(id)}})
		return err
	}
	create := func(id string) error { return createIn(s, id) }
	is(t, "commit to nobody", create("nobody"), docstore.ErrUnavailable)

	e, err := gcptest.StartEmulator(t.Context(), gcptest.Firestore, addr)
	if errors.Is(err, gcptest.ErrNoEmulators) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	comesBack(t, s)
	patient := store(t, d, hang) // for what must work, which may take its time
	if err := patient.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := e.Pause(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), thing("a"))
	is(t, "get while it stands still", err, docstore.ErrUnavailable)
	_, err = s.Query(t.Context(), byRank(1))
	is(t, "query while it stands still", err, docstore.ErrUnavailable)
	is(t, "commit while it stands still", create("cut"), docstore.ErrUnavailable)
	is(t, "ping while it stands still", s.Ping(t.Context()), docstore.ErrUnavailable)
	if err := e.Resume(); err != nil {
		t.Fatal(err)
	}
	comesBack(t, s)
	// The commit that was cut may arrive late: either way there is one document.
	if err := createIn(patient, "cut"); err != nil && !errors.Is(err, docstore.ErrConflict) {
		t.Fatalf("commit after the pause: %v", err)
	}

	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	is(t, "commit to a killed one", create("killed"), docstore.ErrUnavailable)
	if err := e.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	comesBack(t, s)
	if err := createIn(patient, "after"); err != nil {
		t.Fatalf("commit after the restart: %v", err)
	}
}

func comesBack(t *testing.T, s *docstore.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	for {
		err := s.Ping(ctx)
		if err == nil {
			return
		}
		if !wait.For(ctx, 20*time.Millisecond) {
			t.Fatalf("not back: %v", err)
		}
	}
}

func TestOfManyWritersEachVersionHasOneWinner(t *testing.T) {
	t.Parallel()
	const writers, commits = 32, 96
	s := store(t, open(t, fakeSchema), hang)
	k := thing("hot")
	if _, err := s.Commit(t.Context(), []docstore.Write{{Op: docstore.Create, Key: k}}); err != nil {
		t.Fatal(err)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		from = make(map[docstore.Version]bool) // versions that were replaced
		to   = make(map[docstore.Version]bool)
	)
	begin := time.Now()
	won := func(before, after docstore.Version) {
		mu.Lock()
		defer mu.Unlock()
		if from[before] || to[after] {
			t.Errorf("version %d was replaced twice, or %d written twice", before, after)
		}
		from[before], to[after] = true, true
	}
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(from) >= commits
	}
	for range writers {
		wg.Go(func() {
			for !done() {
				doc, err := s.Get(t.Context(), k)
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				v, err := s.Commit(t.Context(), []docstore.Write{{Op: docstore.Replace, Key: k, Version: doc.Version}})
				switch {
				case err == nil:
					won(doc.Version, v[0])
				case !errors.Is(err, docstore.ErrConflict):
					t.Errorf("commit: %v, want a conflict", err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d commits by %d writers in %s", len(from), writers, time.Since(begin))
}

// A document that a write does not change would keep its update time: then two
// holders of one version could both replace it.
func TestEveryWriteChangesTheDocument(t *testing.T) {
	t.Parallel()
	d := open(t, fakeSchema)
	same := docstore.Write{Op: docstore.Create, Key: thing("a"), Data: []byte("same")}
	seen := make(map[docstore.Version]bool)
	for i := range 10 {
		versions, err := d.Commit(t.Context(), []docstore.Write{same})
		if err != nil {
			t.Fatal(err)
		}
		if seen[versions[0]] {
			t.Fatalf("write %d: version %d came back", i, versions[0])
		}
		seen[versions[0]] = true
		same.Op, same.Version = docstore.Replace, versions[0]
	}
	for v := range seen {
		if v == same.Version {
			continue
		}
		w := same
		w.Version = v
		_, err := d.Commit(t.Context(), []docstore.Write{w})
		is(t, fmt.Sprintf("replace version %d", v), err, docstore.ErrConflict)
	}
}
