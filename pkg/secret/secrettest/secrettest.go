package secrettest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codexgateway.dev/pkg/secret"
)

// Platform is a driver and the way to change what it serves.
type Platform struct {
	Driver secret.Driver
	// Put makes value the newest version of a secret.
	Put func(name, value string)
	// Delete removes a secret.
	Delete func(name string)
}

// Run runs the suite. open returns a platform without secrets, used by nobody
// else; the suite closes its driver.
func Run(t *testing.T, open func(t *testing.T) Platform) {
	t.Helper()
	cases := map[string]func(*testing.T, Platform){
		"found exactly as put":           found,
		"not found":                      notFound,
		"empty is not found":             empty,
		"the newest version":             newest,
		"deleted is not found":           deleted,
		"a name that is none":            badNames,
		"an ended context":               endedContext,
		"shown nowhere":                  shownNowhere,
		"rotation is seen after the TTL": rotation,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			t.Cleanup(func() {
				if err := p.Driver.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			run(t, p)
		})
	}
}

// want checks what the driver serves.
func want(t *testing.T, d secret.Driver, name, value string) {
	t.Helper()
	got, err := d.Latest(t.Context(), name)
	if err != nil {
		t.Errorf("latest %s: %v", name, err)
		return
	}
	if got.Reveal() != value {
		t.Errorf("%s has %d bytes, not the %d that were put", name, len(got.Reveal()), len(value))
	}
}

func wantErr(t *testing.T, d secret.Driver, name string, want error) {
	t.Helper()
	v, err := d.Latest(t.Context(), name)
	if !errors.Is(err, want) {
		t.Errorf("latest %q: error %v, want %v", name, err, want)
	}
	if !v.Empty() {
		t.Errorf("latest %q: a value beside the error", name)
	}
}

func found(t *testing.T, p Platform) {
	t.Helper()
	for name, value := range map[string]string{
		"plain":                  "sk-0123456789",
		"a":                      "x",
		"with-2-dashes":          "  spaces stay  ",
		"lines":                  "-----BEGIN\nline\n\n-----END",
		"unicode":                "pässwörd \u2028 <&>",
		strings.Repeat("n", 128): strings.Repeat("v", secret.MaxBytes),
	} {
		p.Put(name, value)
		want(t, p.Driver, name, value)
	}
}

func notFound(t *testing.T, p Platform) {
	t.Helper()
	p.Put("other", "value")
	wantErr(t, p.Driver, "missing", secret.ErrNotFound)
}

func empty(t *testing.T, p Platform) {
	t.Helper()
	p.Put("empty", "")
	wantErr(t, p.Driver, "empty", secret.ErrNotFound)
}

func newest(t *testing.T, p Platform) {
	t.Helper()
	for _, v := range []string{"one", "two", "three"} {
		p.Put("name", v)
		want(t, p.Driver, "name", v)
	}
}

func deleted(t *testing.T, p Platform) {
	t.Helper()
	p.Put("name", "value")
	want(t, p.Driver, "name", "value")
	p.Delete("name")
	wantErr(t, p.Driver, "name", secret.ErrNotFound)
}

func badNames(t *testing.T, p Platform) {
	t.Helper()
	for _, name := range []string{
		"", "..", "../secret", "a/b", "/etc/passwd", "a.b", "A", "a_b", "-a", "a-", "a b", "a\x00", "ä",
		"projects/p/secrets/s", strings.Repeat("n", 129),
	} {
		wantErr(t, p.Driver, name, secret.ErrInvalidName)
	}
}

func endedContext(t *testing.T, p Platform) {
	t.Helper()
	p.Put("name", "value")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Driver.Latest(ctx, "name"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}

func shownNowhere(t *testing.T, p Platform) {
	t.Helper()
	p.Put("name", "hunter2-hunter2")
	v, err := p.Driver.Latest(t.Context(), "name")
	if err != nil {
		t.Fatalf("latest: %v", err)
	}
	CheckRedacted(t, v)
}

func rotation(t *testing.T, p Platform) {
	t.Helper()
	var now atomic.Int64
	s := secret.New(p.Driver, secret.Options{TTL: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	want := func(at int64, value string) {
		t.Helper()
		now.Store(at)
		got, err := s.Get(t.Context(), "name")
		if err != nil {
			t.Fatalf("get at %d s: %v", at, err)
		}
		if got.Reveal() != value {
			t.Errorf("at %d s not %q", at, value)
		}
	}
	p.Put("name", "old")
	want(0, "old")
	p.Put("name", "new")
	want(59, "old")
	want(60, "new")
}
