package doctor_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/pkg/embedded"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/programtest"
	"codexgateway.dev/pkg/schema"
	"codexgateway.dev/services/standalone/internal/doctor"
	"codexgateway.dev/services/standalone/internal/settings"
	"codexgateway.dev/services/worker/codexversion"
)

var update = flag.Bool("update", false, "write the golden files")

func TestEveryCheckRunsAndOneWrongIsAllWrong(t *testing.T) {
	t.Parallel()
	checks := []doctor.Check{
		{Name: "first", Run: func(context.Context) (string, string, error) { return "fine", "", nil }},
		{Name: "second", Run: func(context.Context) (string, string, error) {
			return "/bin/x", "Install\x1b[2J it.", errors.New("not\nthere")
		}},
		{Name: "third", Run: func(context.Context) (string, string, error) { panic("broken") }},
		{Name: "a longer name", Run: func(context.Context) (string, string, error) { return "", "", nil }},
	}
	var out bytes.Buffer
	report := doctor.Run(t.Context(), checks, func(r doctor.Result) {
		if err := r.Write(&out); err != nil {
			t.Error(err)
		}
	})
	if report.OK {
		t.Error("the report is ok")
	}
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "report.golden")
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// fakeCodex installs a program that says it is of some version.
func fakeCodex(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bin", "codex")
	programtest.Write(t, path, fmt.Appendf(nil, "#!/bin/sh\necho codex-cli %s\n", version))
	return path
}

// verdicts is whether each check of Basic found things right.
func verdicts(t *testing.T, e doctor.Environment) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	for _, r := range doctor.Run(t.Context(), doctor.Basic(e), nil).Checks {
		out[r.Name] = r.OK
		if !r.OK && r.Fix == "" {
			t.Errorf("%s is wrong (%s) and nobody says what to do", r.Name, r.Problem)
		}
	}
	return out
}

func environment(t *testing.T) doctor.Environment {
	t.Helper()
	return doctor.Environment{
		DataDir: filepath.Join(t.TempDir(), "not", "yet"), Addr: freeport.Addr(), Codex: fakeCodex(t, codexversion.Pinned()),
		ModelKey: func(context.Context) (string, error) { return "openai-api-key", nil },
	}
}

func TestAMachineThatIsReady(t *testing.T) {
	t.Parallel()
	e := environment(t)
	for name, ok := range verdicts(t, e) {
		if !ok {
			t.Errorf("%s is wrong", name)
		}
	}
	if _, err := os.Stat(e.DataDir); err == nil {
		t.Error("doctor created the data directory")
	}
}

func TestEachThingThatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	for name, tc := range map[string]struct {
		check  string
		damage func(*testing.T, *doctor.Environment)
	}{
		"codex missing":  {"codex", func(t *testing.T, e *doctor.Environment) { t.Helper(); e.Codex = t.TempDir() }},
		"codex too old":  {"codex", func(t *testing.T, e *doctor.Environment) { t.Helper(); e.Codex = fakeCodex(t, "0.1.0") }},
		"no directory":   {"data directory", func(_ *testing.T, e *doctor.Environment) { e.DataDir = "" }},
		"a file instead": {"data directory", func(_ *testing.T, e *doctor.Environment) { e.DataDir = e.Codex }},
		"a model key that cannot be read": {"model key", func(_ *testing.T, e *doctor.Environment) {
			e.ModelKey = func(context.Context) (string, error) { return "", errors.New("permission denied") }
		}},
		"port taken by another": {"port", func(_ *testing.T, e *doctor.Environment) { e.Addr = busy.Addr().String() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := environment(t)
			tc.damage(t, &e)
			for check, ok := range verdicts(t, e) {
				if ok == (check == tc.check) {
					t.Errorf("%s: ok is %t", check, ok)
				}
			}
		})
	}
}

func TestARunningGatewayIsFound(t *testing.T) {
	t.Parallel()
	g := clienttest.New(t)
	e := environment(t)
	e.Addr = strings.TrimPrefix(g.URL, "http://")
	if got := verdicts(t, e); !got["port"] || !got["gateway"] {
		t.Errorf("another's gateway: %v", got)
	}
	e.DataDir = t.TempDir()
	write := func(key string) {
		if err := os.WriteFile(settings.AdminKeyFile(e.DataDir), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(clienttest.Key)
	if got := verdicts(t, e); !got["gateway"] {
		t.Error("our gateway is not recognised")
	}
	write("cgw_local_wrong")
	if got := verdicts(t, e); got["gateway"] {
		t.Error("a gateway that refuses the key is ok")
	}
}

func TestWithoutPath(t *testing.T) {
	t.Setenv("PATH", "")
	got := verdicts(t, environment(t))
	if got["git"] || !got["codex"] {
		t.Errorf("verdicts %v, want git wrong and the named codex fine", got)
	}
}

func TestTheStoreIsOpened(t *testing.T) {
	t.Parallel()
	e := environment(t)
	e.DataDir = t.TempDir()
	open := func() *platform.Platform {
		t.Helper()
		p, err := embedded.Open(t.Context(), embedded.Config{Dir: e.DataDir, Schema: schema.All(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	running := open()
	if !verdicts(t, e)["store"] {
		t.Error("a store in use is wrong")
	}
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	if !verdicts(t, e)["store"] {
		t.Error("a good store is wrong")
	}
	if err := os.WriteFile(filepath.Join(e.DataDir, "gateway.db"), []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if verdicts(t, e)["store"] {
		t.Error("garbage is a good store")
	}
}
