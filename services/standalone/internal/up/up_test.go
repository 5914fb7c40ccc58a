package up_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/standalone/internal/up"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a writer that tests may read while others write.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
	// line gets every finished line.
	line chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.line != nil {
		for l := range strings.Lines(string(p)) {
			o.line <- l
		}
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// run is one codexgw up.
type run struct {
	cfg            up.Config
	stdout, stderr *output
	signals        chan os.Signal
	env            map[string]string
	// parts are what the services were given.
	parts up.Parts
}

func newRun(t *testing.T) *run {
	t.Helper()
	r := &run{
		stdout: &output{line: make(chan string, 10)}, stderr: &output{}, signals: make(chan os.Signal, 1),
		env: map[string]string{"HOME": t.TempDir(), "CODEXGW_LOG_FORMAT": "json"},
	}
	r.cfg = up.Config{
		Addr: "127.0.0.1:0", MockModel: true, DataDir: filepath.Join(t.TempDir(), "data"), TempDir: "/nonexistent",
		Stdout: r.stdout, Stderr: r.stderr, Signals: r.signals, Assemble: r.assemble,
		LookupEnv: func(name string) (string, bool) { v, ok := r.env[name]; return v, ok },
	}
	return r
}

// assemble serves /ready, not at once.
func (r *run) assemble(_ context.Context, rt *chassis.Runtime, p up.Parts) (chassis.Service, error) {
	r.parts = p
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	g := rt.NewGroup()
	g.Add(chassis.HTTPServer("edge", p.Listener, mux, rt.Log))
	return g, nil
}

func TestReadyLineThenDrain(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	ended := make(chan int, 1)
	go func() {
		code, err := up.Run(t.Context(), r.cfg)
		if err != nil {
			t.Error(err)
		}
		ended <- code
	}()
	line := <-r.stdout.line
	var ready struct {
		URL     string `json:"url"`
		KeyFile string `json:"key_file"`
	}
	rest, ok := strings.CutPrefix(line, "ready ")
	if err := json.Unmarshal([]byte(rest), &ready); !ok || err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	if want := "http://" + r.parts.Listener.Addr().String(); ready.URL != want {
		t.Errorf("url %q, want %q", ready.URL, want)
	}
	key := r.parts.AdminKey.Reveal()
	raw, err := os.ReadFile(ready.KeyFile)
	if err != nil || string(raw) != key+"\n" || ready.KeyFile != filepath.Join(r.cfg.DataDir, "admin.key") {
		t.Errorf("key file %s: %v", ready.KeyFile, err)
	}
	if got := strings.Count(r.stderr.String(), key); got != 1 {
		t.Errorf("the first key is shown %d times, want once", got)
	}
	if strings.Contains(r.stdout.String(), key) {
		t.Error("the key is on standard output")
	}
	r.signals <- syscall.SIGTERM
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr)
	}
	if got := r.stdout.String(); got != line {
		t.Errorf("more than one line on standard output: %q", got)
	}
}

func TestTheKeyIsMadeOnceAndShownOnce(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	once := func() (string, string) {
		t.Helper()
		r.stderr = &output{}
		r.cfg.Stderr = r.stderr
		ended := make(chan error, 1)
		go func() {
			_, err := up.Run(t.Context(), r.cfg)
			ended <- err
		}()
		<-r.stdout.line
		r.signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return r.parts.AdminKey.Reveal(), r.stderr.String()
	}
	first, _ := once()
	if _, ok := apikey.Parse(first); !ok || !strings.HasPrefix(first, "cgw_local_") {
		t.Error("the key has another form")
	}
	pepper, err := os.ReadFile(filepath.Join(r.cfg.DataDir, "secrets", apikey.PepperSecret))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.cfg.DataDir, "admin.key")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	second, shown := once()
	if second != first {
		t.Error("the key changed")
	}
	if strings.Contains(shown, first) {
		t.Error("the key is shown again")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: a readable key stays readable", info.Mode(), err)
	}
	if again, err := os.ReadFile(filepath.Join(r.cfg.DataDir, "secrets", apikey.PepperSecret)); err != nil || string(again) != string(pepper) {
		t.Errorf("the pepper changed: every key of a tenant would be lost; %v", err)
	}
	for dir, want := range map[string]string{".": "admin.key secrets", "secrets": apikey.PepperSecret} {
		entries, err := os.ReadDir(filepath.Join(r.cfg.DataDir, dir))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s holds %s, want %s", dir, got, want)
		}
	}
}

func TestWrongSettingsStartNothing(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, r *run){
		"no model key": func(_ *testing.T, r *run) { r.cfg.MockModel = false },
		"data under the temporary directory": func(t *testing.T, r *run) {
			t.Helper()
			r.cfg.TempDir = filepath.Dir(r.cfg.DataDir)
		},
		"data under it by a link": func(t *testing.T, r *run) {
			t.Helper()
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(filepath.Dir(r.cfg.DataDir), link); err != nil {
				t.Fatal(err)
			}
			r.cfg.TempDir, r.cfg.DataDir = filepath.Dir(r.cfg.DataDir), filepath.Join(link, "data")
		},
		"no address": func(_ *testing.T, r *run) { r.cfg.Addr = "8080" },
		"wrong port": func(_ *testing.T, r *run) { r.cfg.Addr, r.env["PORT"] = "", "http" },
		"no home":    func(_ *testing.T, r *run) { r.cfg.DataDir = ""; delete(r.env, "HOME") },
		"file in the way": func(t *testing.T, r *run) {
			t.Helper()
			if err := os.WriteFile(r.cfg.DataDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			damage(t, r)
			_, err := up.Run(t.Context(), r.cfg)
			var wrong *up.SettingError
			if !errors.As(err, &wrong) || wrong.Problem == "" || wrong.Fix == "" {
				t.Errorf("err = %#v, want a SettingError that says what to do", err)
			}
			if r.parts.Listener != nil {
				t.Error("the services were assembled")
			}
		})
	}
}

func TestATakenPortSaysHowToChooseAnother(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRun(t)
	r.cfg.Addr = l.Addr().String()
	_, err = up.Run(t.Context(), r.cfg)
	if err == nil || !strings.Contains(err.Error(), "--addr") {
		t.Errorf("err = %v, want one that names --addr", err)
	}
}

func TestAModelKeyIsEnough(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(t *testing.T, r *run){
		"OPENAI_API_KEY":  func(_ *testing.T, r *run) { r.env["OPENAI_API_KEY"] = "sk-secret" },
		"secret variable": func(_ *testing.T, r *run) { r.env["CODEXGW_SECRET_OPENAI_API_KEY"] = "sk-secret" },
		"another name": func(_ *testing.T, r *run) {
			r.env["CODEXGW_MODEL_KEY_SECRET"], r.env["CODEXGW_SECRET_OTHER"] = "other", "sk-secret"
		},
		"file": func(t *testing.T, r *run) {
			t.Helper()
			path := filepath.Join(r.cfg.DataDir, "secrets", "openai-api-key")
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("sk-secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			r.cfg.MockModel = false
			set(t, r)
			enough := errors.New("assembled")
			r.cfg.Assemble = func(context.Context, *chassis.Runtime, up.Parts) (chassis.Service, error) { return nil, enough }
			code, err := up.Run(t.Context(), r.cfg)
			if err != nil || code != 1 || !strings.Contains(r.stderr.String(), enough.Error()) {
				t.Errorf("code %d, %v\n%s", code, err, r.stderr)
			}
			if strings.Contains(r.stderr.String(), "sk-secret") {
				t.Error("the model key is shown")
			}
		})
	}
}

func TestFlagsReachTheServicesOverTheEnvironment(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	r.env["CODEXGW_CODEX"], r.env["CODEXGW_LEASE"], r.cfg.Codex = "/env/codex", "20s", "/flag/codex"
	r.cfg.Assemble = func(_ context.Context, _ *chassis.Runtime, p up.Parts) (chassis.Service, error) {
		r.parts = p
		return nil, errors.New("enough")
	}
	if _, err := up.Run(t.Context(), r.cfg); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"CODEXGW_CODEX": "/flag/codex", "CODEXGW_LEASE": "20s", "CODEXGW_PLATFORM": "embedded",
		"CODEXGW_DATA_DIR": r.cfg.DataDir, "CODEXGW_WORKER_DIR": filepath.Join(r.cfg.DataDir, "jobs"),
	} {
		if got, _ := r.parts.Env.Lookup(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}
