package chassis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
)

// logs collects JSON log records.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// records returns the values of one member of every record that has it.
func (l *logs) records(t *testing.T, member string) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	dec := json.NewDecoder(bytes.NewReader(l.buf.Bytes()))
	for {
		var r map[string]any
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("log: %v", err)
		}
		if s, ok := r[member].(string); ok {
			out = append(out, s)
		}
	}
}

type service func(ctx context.Context) error

func (s service) Run(ctx context.Context) error { return s(ctx) }

// process is one that no real signal or variable reaches.
func process(env map[string]string) (chassis.Process, *logs, chan os.Signal) {
	var l logs
	signals := make(chan os.Signal, 2)
	return chassis.Process{Name: "test", Lookup: envconfig.MapLookuper(env), Log: &l, Signals: signals}, &l, signals
}

type noConfig struct{}

func TestMainExitCodes(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name  string
		build func() (chassis.Service, error)
		want  int
	}{
		{"ends by itself", func() (chassis.Service, error) {
			return service(func(context.Context) error { return nil }), nil
		}, chassis.ExitOK},
		{"fails", func() (chassis.Service, error) {
			return service(func(context.Context) error { return boom }), nil
		}, chassis.ExitFailed},
		{"does not start", func() (chassis.Service, error) { return nil, boom }, chassis.ExitFailed},
		{"panics", func() (chassis.Service, error) {
			return service(func(context.Context) error { panic(boom) }), nil
		}, chassis.ExitPanic},
		{"panics in the start", func() (chassis.Service, error) { panic(boom) }, chassis.ExitPanic},
		{"a component panics", func() (chassis.Service, error) {
			g := chassis.NewGroup(discard(), chassis.NewHealth(discard()), ample)
			g.Add(chassis.Component{Name: "a", Run: func(context.Context) error { panic(boom) }})
			return g, nil
		}, chassis.ExitPanic},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, l, _ := process(nil)
			code := chassis.Main(t.Context(), p, func(context.Context, *chassis.Runtime, noConfig) (chassis.Service, error) { return tt.build() })
			if code != tt.want {
				t.Errorf("exit code %d, want %d", code, tt.want)
			}
			if stacks := len(l.records(t, "stack")); (stacks == 1) != (code == chassis.ExitPanic) {
				t.Errorf("%d stacks logged", stacks)
			}
			if errs := len(l.records(t, "error")); (errs == 1) != (code != chassis.ExitOK) {
				t.Errorf("%d errors logged, want one for a failure", errs)
			}
		})
	}
}

func TestMainReportsAllOfTheConfiguration(t *testing.T) {
	t.Parallel()
	type config struct {
		A int    `env:"TEST_A"`
		B string `env:"TEST_B,required"`
	}
	p, l, _ := process(map[string]string{"CODEXGW_LOG_LEVEL": "loud", "TEST_A": "x"})
	code := chassis.Main(t.Context(), p, func(context.Context, *chassis.Runtime, config) (chassis.Service, error) {
		t.Error("built with a wrong configuration")
		return nil, nil
	})
	got := l.records(t, "error")
	for i := range got {
		got[i], _, _ = strings.Cut(got[i], " ")
	}
	if diff := cmp.Diff([]string{"CODEXGW_LOG_LEVEL", "TEST_A", "TEST_B"}, got); code != chassis.ExitFailed || diff != "" {
		t.Errorf("exit code %d, variables (-want +got):\n%s", code, diff)
	}
}

func TestMainStopsOnASignal(t *testing.T) {
	t.Parallel()
	p, _, signals := process(nil)
	var cause error
	code := chassis.Main(t.Context(), p, func(_ context.Context, rt *chassis.Runtime, _ noConfig) (chassis.Service, error) {
		g := rt.NewGroup()
		g.Add(chassis.Component{Name: "a", Run: func(ctx context.Context) error {
			signals <- syscall.SIGTERM
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil
		}})
		return g, nil
	})
	var sig *chassis.SignalError
	if code != chassis.ExitOK || !errors.As(cause, &sig) || sig.Signal != syscall.SIGTERM {
		t.Errorf("exit code %d, cause %v", code, cause)
	}
}

func TestMainInterruptedStartIsNoFailure(t *testing.T) {
	t.Parallel()
	p, _, signals := process(nil)
	code := chassis.Main(t.Context(), p, func(ctx context.Context, _ *chassis.Runtime, _ noConfig) (chassis.Service, error) {
		signals <- syscall.SIGINT
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if code != chassis.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestMainLeavesAtOnceOnTheSecondSignal(t *testing.T) {
	t.Parallel()
	p, _, signals := process(nil)
	release, ended := make(chan struct{}), make(chan struct{})
	code := chassis.Main(t.Context(), p, func(context.Context, *chassis.Runtime, noConfig) (chassis.Service, error) {
		return service(func(ctx context.Context) error {
			defer close(ended)
			signals <- syscall.SIGINT
			<-ctx.Done()
			signals <- syscall.SIGINT
			<-release // a stop that never comes to its end
			return nil
		}), nil
	})
	if code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	close(release)
	<-ended
}

// TestMainHearsRealSignals is the one test that signals the process itself.
func TestMainHearsRealSignals(t *testing.T) { //nolint:paralleltest // the signal reaches the whole process
	p, _, _ := process(nil)
	p.Signals = nil
	code := chassis.Main(t.Context(), p, func(context.Context, *chassis.Runtime, noConfig) (chassis.Service, error) {
		return service(func(ctx context.Context) error {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}), nil
	})
	if code != chassis.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestMainServesTheInternalListener(t *testing.T) {
	t.Parallel()
	p, l, signals := process(map[string]string{"CODEXGW_INTERNAL_ADDR": "127.0.0.1:0"})
	code := chassis.Main(t.Context(), p, func(ctx context.Context, rt *chassis.Runtime, _ noConfig) (chassis.Service, error) {
		rt.Internal.HandleFunc("GET /own", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "own") })
		counter, err := rt.Metrics.Meter("test").Int64Counter("codexgw_test_things")
		if err != nil {
			return nil, err
		}
		counter.Add(ctx, 3)
		g := rt.NewGroup()
		g.Add(chassis.Component{Name: "probe", Run: func(ctx context.Context) error {
			addr := l.records(t, "addr")[0]
			for path, want := range map[string]string{
				"/health": "healthy", "/ready": `"service"`, "/own": "own", "/metrics": "codexgw_test_things_total", "/debug/pprof/cmdline": "test",
			} {
				if body := fetch(ctx, t, "http://"+addr+path); !strings.Contains(body, want) {
					t.Errorf("%s lacks %q:\n%.200s", path, want, body)
				}
			}
			signals <- syscall.SIGTERM
			<-ctx.Done()
			return nil
		}})
		return g, nil
	})
	if code != chassis.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func fetch(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", url, err)
	}
	return string(body)
}

// TestMainFlushesTelemetry ends a service right after its work: the collector
// must have its span and its metric before Main returns.
func TestMainFlushesTelemetry(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := make(map[string]string)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] += string(body)
	}))
	defer collector.Close()
	p, _, _ := process(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL + "/"})
	p.FlushTimeout = time.Minute
	code := chassis.Main(t.Context(), p, func(_ context.Context, rt *chassis.Runtime, _ noConfig) (chassis.Service, error) {
		return service(func(ctx context.Context) error {
			_, span := rt.Tracing.Tracer("test").Start(ctx, "test.operation")
			span.End()
			counter, err := rt.Metrics.Meter("test").Int64Counter("codexgw_test_things")
			counter.Add(ctx, 1)
			return err
		}), nil
	})
	mu.Lock()
	defer mu.Unlock()
	for path, want := range map[string]string{"/v1/traces": "test.operation", "/v1/metrics": "codexgw_test_things"} {
		if !strings.Contains(got[path], want) || !strings.Contains(got[path], "codexgw-test") {
			t.Errorf("%s lacks %q or the service's name", path, want)
		}
	}
	if code != chassis.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

// Not parallel: what the exporter cannot send goes to the process's handler of
// telemetry errors, which is that of whichever Main began last.
//
//nolint:paralleltest // see above
func TestMainSurvivesAMissingCollector(t *testing.T) {
	p, _, _ := process(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
	code := chassis.Main(t.Context(), p, func(_ context.Context, rt *chassis.Runtime, _ noConfig) (chassis.Service, error) {
		return service(func(ctx context.Context) error {
			_, span := rt.Tracing.Tracer("test").Start(ctx, "test.operation")
			span.End()
			return nil
		}), nil
	})
	if code != chassis.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestBuildInfo(t *testing.T) {
	t.Parallel()
	if b := chassis.Build(); b.Version == "" || b.Go == "" {
		t.Errorf("build = %+v", b)
	}
}
