package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	outside := t.TempDir()
	write(t, filepath.Join(outside, "big"), 1<<20)
	for name, c := range map[string]struct {
		lay      func(t *testing.T, dir string)
		limits   Limits
		files    int64
		minBytes int64
		maxBytes int64
		exceeded bool
	}{
		"an empty directory": {lay: func(*testing.T, string) {}},
		"files at every depth": {lay: func(t *testing.T, d string) {
			t.Helper()
			write(t, d+"/a", 64*kib)
			write(t, d+"/b/c/d", 64*kib)
		}, files: 4, minBytes: 128 * kib, maxBytes: 160 * kib},
		"a link counts itself, not what it names": {lay: func(t *testing.T, d string) {
			t.Helper()
			if err := errors.Join(os.Symlink(outside, d+"/dir"), os.Symlink(outside+"/big", d+"/file")); err != nil {
				t.Fatal(err)
			}
		}, files: 2, maxBytes: 16 * kib},
		"a file with two names counts once": {lay: func(t *testing.T, d string) {
			t.Helper()
			write(t, d+"/a", 64*kib)
			if err := os.Link(d+"/a", d+"/b"); err != nil {
				t.Fatal(err)
			}
		}, files: 1, minBytes: 64 * kib, maxBytes: 80 * kib},
		"a sparse file takes what was written": {lay: func(t *testing.T, d string) {
			t.Helper()
			write(t, d+"/a", 0)
			if err := os.Truncate(d+"/a", 1<<40); err != nil {
				t.Fatal(err)
			}
		}, limits: Limits{Bytes: 1 << 20}, files: 1, maxBytes: 64 * kib},
		"too many bytes": {lay: func(t *testing.T, d string) {
			t.Helper()
			for i := range 10 {
				write(t, fmt.Sprintf("%s/%d", d, i), 64*kib)
			}
		}, limits: Limits{Bytes: 100 * kib}, files: 2, minBytes: 128 * kib, maxBytes: 160 * kib, exceeded: true},
		"too many files": {lay: func(t *testing.T, d string) {
			t.Helper()
			for i := range 100 {
				write(t, fmt.Sprintf("%s/x/%d", d, i), 0)
			}
		}, limits: Limits{Files: 10}, files: 11, maxBytes: 64 * kib, exceeded: true},
		"directories that hide by their depth": {lay: func(t *testing.T, d string) {
			t.Helper()
			if err := os.MkdirAll(d+strings.Repeat("/d", maxDepth+2), 0o755); err != nil {
				t.Fatal(err)
			}
		}, limits: Limits{Files: 1 << 20}, files: maxDepth + 1, maxBytes: 1 << 30, exceeded: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.lay(t, dir)
			got, err := count(t.Context(), []string{dir, filepath.Join(dir, "missing")}, c.limits)
			if exceeded := errors.Is(err, ErrExceeded) || got.over(c.limits); exceeded != c.exceeded {
				t.Errorf("exceeded %v (%v), want %v", exceeded, err, c.exceeded)
			}
			if got.files != c.files || got.bytes < c.minBytes || got.bytes > c.maxBytes {
				t.Errorf("%+v, want %d files and %d to %d bytes", got, c.files, c.minBytes, c.maxBytes)
			}
		})
	}
}

func TestWatchNoticesWhatIsWrittenWhileItWatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	found := make(chan error, 1)
	go func() { found <- Watch(t.Context(), []string{dir}, Limits{Bytes: 1 << 20}) }()
	write(t, dir+"/a", 2<<20)
	if err := <-found; !errors.Is(err, ErrExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Watch(ctx, []string{t.TempDir()}, Limits{Bytes: 1}); err != nil {
		t.Error(err)
	}
	if err := Watch(t.Context(), []string{t.TempDir()}, Limits{}); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

func TestCountingLeavesTheCPUToTheJob(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	limits := Limits{Bytes: 800, Files: 80}
	full, less := space{1000, 1000}, space{899, 1000}
	for name, c := range map[string]struct {
		cost  time.Duration
		free  space
		after time.Duration
	}{
		"a quick count, every second":         {time.Millisecond, full, minGap},
		"a slow count waits for 19 times it":  {200 * time.Millisecond, full, 19 * 200 * time.Millisecond},
		"a very slow one no longer than this": {10 * time.Second, full, maxGap},
		"a disk that fills hurries it":        {200 * time.Millisecond, less, 4 * 200 * time.Millisecond},
		"and so do inodes":                    {200 * time.Millisecond, space{1000, 989}, 4 * 200 * time.Millisecond},
		"a little does not":                   {200 * time.Millisecond, space{901, 991}, 19 * 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pace{}
			p.counted(start, start.Add(c.cost), full)
			if at := p.ended.Add(c.after); p.due(at.Add(-1), c.free, limits) || !p.due(at, c.free, limits) {
				t.Errorf("not due exactly %v after a count of %v", c.after, c.cost)
			}
		})
	}
}
