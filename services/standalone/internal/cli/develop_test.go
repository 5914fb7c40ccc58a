package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/services/standalone/internal/cli"
)

func TestBootstrapExitCodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		do   cli.BootstrapFunc
		want int
	}{
		"done": {nil, func(_ context.Context, lookup func(string) (string, bool), opt platform.BootstrapOptions) error {
			if v, _ := lookup("GOOGLE_CLOUD_PROJECT"); v != "p" || opt.Logger == nil || opt.RealProject || opt.Lanes {
				return errors.New("not what was said")
			}
			return nil
		}, 0},
		"a real project": {[]string{"--real-project", "--lanes"}, func(_ context.Context, _ func(string) (string, bool), opt platform.BootstrapOptions) error {
			if !opt.RealProject || !opt.Lanes {
				return errors.New("not told")
			}
			return nil
		}, 0},
		"failed": {nil, func(context.Context, func(string) (string, bool), platform.BootstrapOptions) error {
			return errors.New("away")
		}, 1},
		"wrong settings": {nil, func(context.Context, func(string) (string, bool), platform.BootstrapOptions) error {
			return &chassis.ConfigError{Problems: []error{errors.New("CODEXGW_BUCKET is required")}}
		}, 2},
		"an argument":     {[]string{"x"}, nil, 2},
		"not in this one": {nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t, nil)
			s.env["GOOGLE_CLOUD_PROJECT"] = "p"
			s.Bootstrap = tc.do
			if r := s.run(append([]string{"bootstrap"}, tc.args...)...); r.code != tc.want || tc.want != 0 && !strings.HasPrefix(r.stderr, "codexgw: ") {
				t.Errorf("exit %d, want %d\n%s", r.code, tc.want, r.stderr)
			}
		})
	}
}

// ready takes the ready line, asks the model once and ends the command.
type ready struct{ asked error }

func (w *ready) Write(p []byte) (int, error) {
	var said struct {
		URL string `json:"url"`
	}
	line, ok := strings.CutPrefix(string(p), "ready ")
	if !ok || json.Unmarshal([]byte(line), &said) != nil {
		w.asked = errors.New("no ready line: " + string(p))
	} else {
		w.asked = ask(said.URL)
	}
	return len(p), syscall.Kill(os.Getpid(), syscall.SIGTERM)
}

func ask(url string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/responses", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return errors.New("the url does not lead to the model")
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// TestMockModelServesUntilASignal is not parallel: the signal is the process's.
func TestMockModelServesUntilASignal(t *testing.T) {
	var stderr bytes.Buffer
	w := &ready{asked: errors.New("not asked")}
	code := cli.Main(t.Context(), cli.Process{
		Args: []string{"mock-model", "--addr", "127.0.0.1:0"}, Stdout: w, Stderr: &stderr,
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if code != 0 || w.asked != nil {
		t.Errorf("exit %d, %v\n%s", code, w.asked, stderr.String())
	}
}

func TestMockModelOnATakenAddress(t *testing.T) {
	t.Parallel()
	if r := newShell(t, nil).run("mock-model", "--addr", "256.0.0.1:1"); r.code != 1 || !strings.Contains(r.stderr, "--addr") {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
}
