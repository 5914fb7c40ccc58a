package workspace

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/errs"
)

func TestPrepareEmpty(t *testing.T) {
	t.Parallel()
	w := prepare(t, nil, Policy{})
	if out := git(t, w.Dir, "fsck", "--strict", "--full"); out != "" && !strings.HasPrefix(out, "notice") {
		t.Errorf("fsck: %s", out)
	}
	if out := git(t, w.Dir, "status", "--porcelain=v1", "--branch"); out != "## main" {
		t.Errorf("status: %q", out)
	}
	if got := git(t, w.Dir, "rev-parse", "HEAD"); got != w.Base {
		t.Errorf("HEAD %s, base %s", got, w.Base)
	}
	if out := git(t, w.Dir, "log", "--format=%an <%ae> %s"); out != "Codex Gateway <gateway@codexgateway.dev> Empty workspace" {
		t.Errorf("log: %q", out)
	}
	if w.Subdir != "." || w.Branch != "main" {
		t.Errorf("%+v", w)
	}
	write(t, w.Dir, map[string]string{"x": "x"})
	git(t, w.Dir, "add", "-A")
	git(t, w.Dir, "commit", "-q", "-m", "usable")
}

func TestPrepareWantsAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	r := request(t, nil)
	write(t, r.Dir, map[string]string{"x": "x"})
	if _, err := Prepare(t.Context(), r, Policy{}); err == nil {
		t.Error("no error")
	}
}

// history is an origin with two commits, a branch, and both kinds of tags.
func history(t *testing.T) (url, first, second string) {
	t.Helper()
	dir, url := origin(t)
	first = git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "tag", "light")
	git(t, dir, "tag", "-a", "-m", "annotated", "v1.0")
	git(t, dir, "tag", "tree-tag", "HEAD^{tree}")
	git(t, dir, "tag", "both")
	write(t, dir, map[string]string{"second.txt": "2\n", "sub/deep/x": "x"})
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/deep", filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "second")
	second = git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "branch", "feature/x")
	git(t, dir, "branch", "both")
	return url, first, second
}

func TestCloneFindsTheRef(t *testing.T) {
	t.Parallel()
	url, first, second := history(t)
	for ref, want := range map[string]struct{ base, branch string }{
		"":                  {second, "trunk"},
		"trunk":             {second, "trunk"},
		"feature/x":         {second, "feature/x"},
		"refs/heads/trunk":  {second, "trunk"},
		"light":             {first, ""},
		"v1.0":              {first, ""},
		"refs/tags/v1.0":    {first, ""},
		"both":              {second, "both"},
		"refs/tags/both":    {first, ""},
		first:               {first, ""},
		second:              {second, ""},
		"refs/heads/v1.0-x": {},
	} {
		t.Run(strings.ReplaceAll(ref, "/", "_"), func(t *testing.T) {
			t.Parallel()
			w, err := Prepare(t.Context(), request(t, &Repo{URL: url, Ref: ref}), local)
			if want.base == "" {
				if errs.CodeOf(err) != errs.RepoRefNotFound {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w.Base != want.base || w.Branch != want.branch {
				t.Errorf("base %s branch %q, want %+v", w.Base, w.Branch, want)
			}
			if got := git(t, w.Dir, "rev-parse", "HEAD"); got != want.base {
				t.Errorf("the job's HEAD is %s", got)
			}
			if out := git(t, w.Dir, "status", "--porcelain"); out != "" {
				t.Errorf("the job's status: %s", out)
			}
			if got := git(t, w.Dir, "branch", "--show-current"); got != want.branch {
				t.Errorf("the job's branch is %q", got)
			}
			if _, err := os.Stat(filepath.Join(w.Dir, "second.txt")); (err == nil) != (want.base == second) {
				t.Errorf("wrong files: %v", err)
			}
		})
	}
}

// Files are the repository's bytes: attributes convert nothing.
func TestCloneConvertsNothing(t *testing.T) {
	t.Parallel()
	dir, url := origin(t)
	w := prepare(t, &Repo{URL: url}, local)
	want, got := tree(t, dir), tree(t, w.Dir)
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
}

func TestCloneSubdir(t *testing.T) {
	t.Parallel()
	url, _, _ := history(t)
	for dir, want := range map[string]struct {
		subdir string
		code   errs.Code
	}{
		"sub/deep":   {subdir: "sub/deep"},
		"./sub//":    {subdir: "sub"},
		"in":         {subdir: "in"},
		"out":        {code: errs.RepoRefNotFound},
		"none":       {code: errs.RepoRefNotFound},
		"second.txt": {code: errs.RepoRefNotFound},
		"..":         {code: errs.RepoRefused},
		"sub/../..":  {code: errs.RepoRefused},
		"/etc":       {code: errs.RepoRefused},
		".git":       {code: errs.RepoRefused},
		"sub/.GIT/x": {code: errs.RepoRefused},
	} {
		t.Run(strings.ReplaceAll(dir, "/", "_"), func(t *testing.T) {
			t.Parallel()
			w, err := Prepare(t.Context(), request(t, &Repo{URL: url, Subdir: dir}), local)
			if want.code != "" {
				if errs.CodeOf(err) != want.code {
					t.Errorf("error %v, want %s", err, want.code)
				}
				return
			}
			if err != nil || w.Subdir != want.subdir {
				t.Errorf("%+v, %v", w, err)
			}
		})
	}
}

func TestCloneFailures(t *testing.T) {
	t.Parallel()
	url, first, _ := history(t)
	empty := t.TempDir()
	git(t, empty, "init", "-q")
	big, bigURL := origin(t)
	random := make([]byte, 300<<10)
	for i, v := 0, uint32(1); i < len(random); i++ {
		v = v*1664525 + 1013904223
		random[i] = byte(v >> 24)
	}
	write(t, big, map[string]string{"random": string(random)})
	git(t, big, "add", "-A")
	git(t, big, "commit", "-q", "-m", "big")
	bomb, bombURL := origin(t)
	write(t, bomb, map[string]string{"zeros": strings.Repeat("\x00", 3<<20)})
	git(t, bomb, "add", "-A")
	git(t, bomb, "commit", "-q", "-m", "bomb")

	small := local
	small.MaxBytes = 200 << 10
	few := local
	few.MaxFiles = 3
	slow := local
	slow.Timeout = time.Nanosecond
	for name, c := range map[string]struct {
		repo   Repo
		policy Policy
		code   errs.Code
	}{
		"no repository":      {Repo{URL: "file://" + t.TempDir()}, local, errs.RepoUnreachable},
		"no directory":       {Repo{URL: "file:///no/such"}, local, errs.RepoUnreachable},
		"no repository, id":  {Repo{URL: "file:///no/such", Ref: first}, local, errs.RepoUnreachable},
		"no branch":          {Repo{URL: url, Ref: "nope"}, local, errs.RepoRefNotFound},
		"no commit":          {Repo{URL: url, Ref: strings.Repeat("1", 40)}, local, errs.RepoRefNotFound},
		"short commit":       {Repo{URL: url, Ref: first[:12]}, local, errs.RepoRefNotFound},
		"long commit":        {Repo{URL: url, Ref: strings.Repeat("1", 64)}, local, errs.RepoRefused},
		"tag of a tree":      {Repo{URL: url, Ref: "tree-tag"}, local, errs.RepoRefNotFound},
		"empty":              {Repo{URL: "file://" + empty}, local, errs.RepoRefNotFound},
		"pack too large":     {Repo{URL: bigURL}, small, errs.RepoTooLarge},
		"checkout too large": {Repo{URL: bombURL}, small, errs.RepoTooLarge},
		"too many files":     {Repo{URL: url}, few, errs.RepoTooLarge},
		"too slow":           {Repo{URL: url}, slow, errs.RepoUnreachable},
		"file not allowed":   {Repo{URL: url}, Policy{}, errs.RepoRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Prepare(t.Context(), request(t, &c.repo), c.policy)
			if errs.CodeOf(err) != c.code {
				t.Fatalf("error %v, want %s", err, c.code)
			}
			if public := errs.From(err).Message(); strings.Contains(public, strings.TrimPrefix(c.repo.URL, "file://")) || public == "" {
				t.Errorf("public text %q names a path", public)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		if _, err := Prepare(cancelled(t), request(t, &Repo{URL: url}), local); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// server serves the repositories below a directory over https as git does, and
// says how to reach it: host git.example resolves to loopback, nothing else.
func server(t *testing.T, root string, wrap func(http.Handler) http.Handler) (base string, p Policy) {
	t.Helper()
	exec := git(t, root, "--exec-path")
	var h http.Handler = &cgi.Handler{
		Path: filepath.Join(exec, "git-http-backend"), Dir: root, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are wanted
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, ok := srv.Listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	return "https://example.com:" + strconv.Itoa(addr.Port), Policy{
		CAFile:     ca,
		AllowAddrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		// example.com is in the test server's certificate; only the pinned
		// address leads there.
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "example.com" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	}
}

func TestCloneOverHTTPS(t *testing.T) {
	t.Parallel()
	fileURL, first, second := history(t)
	dir := strings.TrimPrefix(fileURL, "file://")
	url, policy := server(t, filepath.Dir(dir), nil)
	url += "/" + filepath.Base(dir)

	for ref, base := range map[string]string{"": second, "v1.0": first, first: first} {
		t.Run("ref "+ref, func(t *testing.T) {
			t.Parallel()
			if w := prepare(t, &Repo{URL: url, Ref: ref}, policy); w.Base != base {
				t.Errorf("base %s, want %s", w.Base, base)
			}
		})
	}
	for name, c := range map[string]struct {
		url  string
		edit func(*Policy)
		code errs.Code
	}{
		"private address":     {url, func(p *Policy) { p.AllowAddrs = nil }, errs.RepoRefused},
		"unknown host":        {strings.Replace(url, "example.com", "example.net", 1), func(*Policy) {}, errs.RepoUnreachable},
		"unknown certificate": {url, func(p *Policy) { p.CAFile = "" }, errs.RepoUnreachable},
		"one of two addresses is private": {url, func(p *Policy) {
			p.AllowAddrs = nil
			p.Lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
			}
		}, errs.RepoRefused},
		"not there": {url + "x", func(*Policy) {}, errs.RepoUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy
			c.edit(&p)
			if _, err := Prepare(t.Context(), request(t, &Repo{URL: c.url}), p); errs.CodeOf(err) != c.code {
				t.Errorf("error %v, want %s", err, c.code)
			}
		})
	}
}

// A redirect is how a public host would lead to a private one.
func TestCloneFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	dir, _ := origin(t)
	url, policy := server(t, filepath.Dir(dir), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rest, ok := strings.CutPrefix(r.URL.Path, "/moved"); ok {
				http.Redirect(w, r, rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := Prepare(t.Context(), request(t, &Repo{URL: url + "/moved/" + filepath.Base(dir)}), policy); errs.CodeOf(err) != errs.RepoUnreachable {
		t.Errorf("error %v", err)
	}
	prepare(t, &Repo{URL: url + "/" + filepath.Base(dir)}, policy)
}

// A server that stalls or asks for a password must not hold the worker.
func TestCloneOfAStallingServer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	url, policy := server(t, t.TempDir(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/private") {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	})
	policy.Timeout = 300 * time.Millisecond
	if _, err := Prepare(t.Context(), request(t, &Repo{URL: url + "/stall/x"}), policy); errs.CodeOf(err) != errs.RepoUnreachable || !errors.Is(err, errTooSlow) {
		t.Errorf("stalling: error %v", err)
	}
	policy.Timeout = time.Minute
	if _, err := Prepare(t.Context(), request(t, &Repo{URL: url + "/private/x"}), policy); errs.CodeOf(err) != errs.RepoUnreachable {
		t.Errorf("private: error %v", err)
	}
}

func TestRemoveDeletesWhatTheJobClosed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work")
	write(t, dir, map[string]string{"a/b/c": "x", "d/e": "y"})
	for _, d := range []string{"a/b", "a", "d"} {
		if err := os.Chmod(filepath.Join(dir, d), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestClearKeepsTheDirectory(t *testing.T) {
	t.Parallel()
	_, url := origin(t)
	r := request(t, nil)
	if _, err := Prepare(t.Context(), r, Policy{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Clear(r.Dir), Remove(r.State)); err != nil {
		t.Fatal(err)
	}
	r.Repo = &Repo{URL: url}
	if _, err := Prepare(t.Context(), r, local); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(r.Dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("another directory (%v)", err)
	}
}

func BenchmarkPrepare(b *testing.B) {
	_, url := origin(b)
	for name, repo := range map[string]*Repo{"empty": nil, "clone": {URL: url}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := request(b, repo)
				b.StartTimer()
				if _, err := Prepare(b.Context(), r, local); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
