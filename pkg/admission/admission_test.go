package admission_test

import (
	"errors"
	"log/slog"
	"testing"

	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
)

func open(t *testing.T) (*admission.Store, *docstore.Store) {
	t.Helper()
	schema := docstore.Schema{admission.Schema()}
	docs, err := docstore.New(memstore.New(schema), schema, docstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return admission.NewStore(docs), docs
}

func take(t *testing.T, docs *docstore.Store, slot admission.Slot) error {
	t.Helper()
	w, err := slot.Take()
	if err != nil {
		t.Fatal(err)
	}
	_, err = docs.Commit(t.Context(), []docstore.Write{w})
	return err
}

func TestSlotsAreFoundUntilTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 7
	s, docs := open(t)
	seen := map[int]bool{}
	for range limit {
		slot, ok, err := s.Find(t.Context(), "a", "job", limit)
		if err != nil || !ok || slot.N < 1 || slot.N > limit || seen[slot.N] {
			t.Fatalf("slot %+v, %v, %v; taken: %v", slot, ok, err, seen)
		}
		seen[slot.N] = true
		if err := take(t, docs, slot); err != nil {
			t.Fatal(err)
		}
	}
	if slot, ok, err := s.Find(t.Context(), "a", "job", limit); ok || err != nil {
		t.Errorf("slot %+v over the limit, %v", slot, err)
	}
	if _, ok, err := s.Find(t.Context(), "b", "job", limit); !ok || err != nil {
		t.Errorf("another tenant has no slot: %v", err)
	}
	// A limit that was lowered counts the slots above it until they are free.
	if _, ok, err := s.Find(t.Context(), "a", "job", limit-2); ok || err != nil {
		t.Errorf("a slot below a lowered limit, %v", err)
	}
}

func TestASlotHasOneHolder(t *testing.T) {
	t.Parallel()
	s, docs := open(t)
	slot := admission.Guess("a", "first", 1)
	if err := take(t, docs, slot); err != nil {
		t.Fatal(err)
	}
	if err := take(t, docs, admission.Guess("a", "second", 1)); !errors.Is(err, docstore.ErrConflict) {
		t.Errorf("a taken slot was taken: %v", err)
	}
	if held, err := s.Held(t.Context(), "a", "second", 1); held != nil || err != nil {
		t.Errorf("held by the wrong job: %+v %v", held, err)
	}
	held, err := s.Held(t.Context(), "a", "first", 1)
	if err != nil || held == nil {
		t.Fatalf("%+v %v", held, err)
	}
	w, err := held.Pass("second")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Commit(t.Context(), []docstore.Write{w}); err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Commit(t.Context(), []docstore.Write{held.Release()}); !errors.Is(err, docstore.ErrConflict) {
		t.Errorf("a slot that was handed on was freed: %v", err)
	}
	held, err = s.Held(t.Context(), "a", "second", 1)
	if err != nil || held == nil {
		t.Fatalf("%+v %v", held, err)
	}
	if _, err := docs.Commit(t.Context(), []docstore.Write{held.Release()}); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Held(t.Context(), "a", "second", 1); held != nil || err != nil {
		t.Errorf("a free slot is held: %+v %v", held, err)
	}
}

func TestTenantsOfAnyNameAreApart(t *testing.T) {
	t.Parallel()
	_, docs := open(t)
	for _, tenant := range []string{"a", "a:1", "Ä/..", "", "__x__"} {
		if err := take(t, docs, admission.Guess("t"+tenant, "job", 1)); err != nil {
			t.Errorf("%q: %v", tenant, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := admission.Config{Running: 3, RunningFor: []string{"big=50", "free=0"}}
	if errs := cfg.Validate(); len(errs) != 0 {
		t.Fatal(errs)
	}
	limit, err := cfg.Limits()
	if err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]int{"any": 3, "big": 50, "free": 0} {
		if got := limit(tenant); got != want {
			t.Errorf("%s: %d, want %d", tenant, got, want)
		}
	}
	for _, bad := range []string{"", "x", "=1", "x=", "x=-1", "x=1001", "x=many"} {
		if errs := (&admission.Config{RunningFor: []string{bad}}).Validate(); len(errs) != 1 {
			t.Errorf("%q: %v", bad, errs)
		}
	}
}
