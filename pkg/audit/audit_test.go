package audit_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)

// lines is a log that many may write.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what was written since it was last called.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// open returns a trail whose log, of errors only, goes to out.
func open(t *testing.T, now func() time.Time) (trail *audit.Trail, docs *docstore.Store, out *lines) {
	t.Helper()
	schema := docstore.Schema{audit.Schema()}
	docs, err := docstore.New(memstore.New(schema), schema, docstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	out = &lines{}
	log := chassis.NewLogger(out, chassis.LogConfig{Format: "json", Level: slog.LevelError}).With(slog.String("service", "edge"))
	return audit.NewTrail(docs, log.Handler(), now, 0), docs, out
}

func still() time.Time { return start }

// TestLogStream is the wire form that log routers filter: it also shows that a
// log level does not silence it.
func TestLogStream(t *testing.T) {
	t.Parallel()
	trail, _, out := open(t, still)
	for _, r := range []audit.Record{
		{Action: audit.KeyCreate, Outcome: audit.Done, Tenant: "acme", KeyID: "admin", Target: "key_1", Address: "192.0.2.7", RequestID: "req_1"},
		{Action: audit.AuthFailure, Outcome: audit.Refused, Code: "unauthenticated", Address: "2001:db8::1", Count: 41},
		{Action: audit.PermissionDenied, Outcome: audit.Refused, Tenant: "acme", KeyID: "key_1", Target: "key.create", Code: "permission_denied", Address: "192.0.2.7", RequestID: "req_2"},
	} {
		trail.Tell(t.Context(), r)
	}
	got := regexp.MustCompile(`aud_[0-9a-z]{26}`).ReplaceAllString(out.take(), "aud_ID")
	file := filepath.Join("testdata", "stream.golden.jsonl")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyChangesOfWhoMayDoWhatAreStored(t *testing.T) {
	t.Parallel()
	trail, docs, out := open(t, still)
	stored := 0
	for _, a := range audit.Actions() {
		if err := trail.Record(t.Context(), audit.Record{Action: a, Outcome: audit.Done, Tenant: "acme"}); err != nil {
			t.Fatal(err)
		}
		if a.Stored() {
			stored++
		}
	}
	records, next, err := trail.List(t.Context(), "acme", audit.Filter{})
	if err != nil || next != "" || len(records) != stored || stored == 0 {
		t.Errorf("%d stored, %v; want %d", len(records), err, stored)
	}
	if lines := strings.Count(out.take(), "\n"); lines != len(audit.Actions()) {
		t.Errorf("%d lines", lines)
	}
	if n, err := docs.PurgeExpired(t.Context(), audit.Collection, start.Add(audit.DefaultKeep), 100); n != 0 || err != nil {
		t.Errorf("removed %d, %v, before their time is over", n, err)
	}
	if n, err := docs.PurgeExpired(t.Context(), audit.Collection, start.Add(audit.DefaultKeep+time.Second), 100); n != stored || err != nil {
		t.Errorf("removed %d, %v, want %d", n, err, stored)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	now := start
	trail, _, _ := open(t, func() time.Time { return now })
	for i, r := range []audit.Record{
		{Action: audit.KeyCreate, Tenant: "acme", KeyID: "admin", Target: "key_1"},
		{Action: audit.KeyRotate, Tenant: "acme", KeyID: "key_1", Target: "key_1"},
		{Action: audit.KeyCreate, Tenant: "other", KeyID: "admin", Target: "key_2"},
		{Action: audit.KeyRevoke, Tenant: "acme", KeyID: "admin", Target: "key_1"},
	} {
		now = start.Add(time.Duration(i) * time.Minute)
		if err := trail.Record(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		f    audit.Filter
		want string
	}{
		{"all", audit.Filter{}, "key.revoke key.rotate key.create"},
		{"an action", audit.Filter{Action: audit.KeyCreate}, "key.create"},
		{"a key", audit.Filter{KeyID: "admin"}, "key.revoke key.create"},
		{"both", audit.Filter{KeyID: "admin", Action: audit.KeyRevoke}, "key.revoke"},
		{"a time", audit.Filter{From: start.Add(time.Minute), Until: start.Add(3 * time.Minute)}, "key.rotate"},
		{"in pages", audit.Filter{Limit: 1}, "key.revoke key.rotate key.create"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for f := tc.f; ; {
				records, next, err := trail.List(t.Context(), "acme", f)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range records {
					got = append(got, string(r.Action))
				}
				if f.Cursor = next; next == "" {
					break
				}
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The record of a change is in its commit: neither is there without the other.
func TestARecordGoesWithItsChange(t *testing.T) {
	t.Parallel()
	trail, docs, _ := open(t, still)
	r := audit.Record{Action: audit.KeyRevoke, Outcome: audit.Done, Tenant: "acme"}
	w, err := trail.Write(&r)
	if err != nil {
		t.Fatal(err)
	}
	lost := docstore.Write{Op: docstore.Delete, Key: docstore.Key{Collection: audit.Collection, ID: "x"}, Version: 7}
	if _, err := docs.Commit(t.Context(), []docstore.Write{lost, w}); err == nil {
		t.Fatal("committed")
	}
	if records, _, err := trail.List(t.Context(), "acme", audit.Filter{}); len(records) != 0 || err != nil {
		t.Errorf("%v, %v", records, err)
	}
	if _, err := docs.Commit(t.Context(), []docstore.Write{w}); err != nil {
		t.Fatal(err)
	}
	if records, _, err := trail.List(t.Context(), "acme", audit.Filter{}); len(records) != 1 || records[0].ID != r.ID || err != nil {
		t.Errorf("%v, %v", records, err)
	}
}

func TestWhatAnybodyCanCauseIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trail, _, out := open(t, time.Now)
		tally := audit.NewTally(trail)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tally.Run(ctx) }()
		synctest.Wait()
		for range 100 {
			tally.Count(ctx, audit.Record{Action: audit.AuthFailure, Address: "192.0.2.7"})
		}
		tally.Count(ctx, audit.Record{Action: audit.AuthFailure, Address: "192.0.2.8"})
		if n := strings.Count(out.take(), "\n"); n != 2 {
			t.Errorf("%d lines at once, want one of each address", n)
		}
		<-time.After(time.Minute + time.Second) // of the bubble's time
		synctest.Wait()
		if got := out.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"count":99`) {
			t.Errorf("after a minute: %s", got)
		}
		// However many addresses there are, they are told of within a bound.
		for i := range 5000 {
			tally.Count(ctx, audit.Record{Action: audit.AuthFailure, Address: time.Duration(i).String()})
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		got := out.take()
		if n := strings.Count(got, "\n"); n > 1026 || !strings.Contains(got, `"count":39`) {
			t.Errorf("%d lines", n)
		}
	})
}
