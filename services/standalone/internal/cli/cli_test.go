package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/standalone/internal/cli"
)

func TestOutputs(t *testing.T) {
	t.Parallel()
	g := full(t)
	s := newShell(t, g)
	for name, args := range map[string][]string{
		"get":             {"get", "job_good"},
		"get-failed":      {"get", "job_bad"},
		"get-json":        {"get", "job_good", "--json"},
		"list":            {"list"},
		"list-json":       {"list", "--json", "--limit", "1"},
		"list-none":       {"list", "--status", "waiting"},
		"cancel":          {"cancel", "job_running", "--reason", "enough"},
		"cancel-json":     {"cancel", "job_running", "--json"},
		"artifacts":       {"artifacts", "job_good"},
		"diff":            {"diff", "job_good"},
		"watch":           {"watch", "job_good"},
		"watch-json":      {"watch", "job_good", "--after", "4", "--json"},
		"watch-after-end": {"watch", "job_good", "--after", "6"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, s.ok(args...))
		})
	}
	t.Run("artifacts --json is the gateway's result", func(t *testing.T) {
		t.Parallel()
		var got apiv1.Artifacts
		if err := json.Unmarshal([]byte(s.ok("artifacts", "job_good", "--json")), &got); err != nil || len(got.Artifacts) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	g := full(t)
	const nobody = "http://127.0.0.1:1"
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"ok":                      {[]string{"watch", "job_good"}, 0},
		"job failed":              {[]string{"watch", "job_bad"}, 1},
		"job failed, json":        {[]string{"watch", "job_bad", "--json"}, 1},
		"job failed, seen before": {[]string{"watch", "job_bad", "--after", "3"}, 1},
		"unknown job":             {[]string{"get", "job_none"}, 1},
		"watch of an unknown job": {[]string{"watch", "job_none"}, 1},
		"diff of an unknown job":  {[]string{"diff", "job_none"}, 1},
		"diff of a running job":   {[]string{"diff", "job_running"}, 1},
		"diff of nothing":         {[]string{"diff", "job_bad"}, 0},
		"cancel of an ended job":  {[]string{"cancel", "job_good"}, 1},
		"unreachable":             {[]string{"list", "--url", nobody}, 3},
		"watch unreachable":       {[]string{"watch", "job_good", "--url", nobody}, 3},
		"submit unreachable":      {[]string{"submit", "x", "--watch", "--url", nobody}, 3},
		"diff unreachable":        {[]string{"diff", "job_good", "--url", nobody}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := newShell(t, g).run(tc.args...); r.code != tc.want {
				t.Errorf("exit %d, want %d\n%s%s", r.code, tc.want, r.stdout, r.stderr)
			}
		})
	}
}

func TestUsageErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	g := full(t)
	for name, args := range map[string][]string{
		"no command of that name": {"wach"},
		"unknown flag":            {"list", "--bogus"},
		"no prompt":               {"submit"},
		"empty prompt":            {"submit", "  "},
		"unquoted prompt":         {"submit", "fix", "it"},
		"prompt not UTF-8":        {"submit", "\xff"},
		"ref alone":               {"submit", "x", "--ref", "main"},
		"metadata":                {"submit", "x", "--metadata", "novalue"},
		"fraction of a second":    {"submit", "x", "--timeout", "1500ms"},
		"not a duration":          {"submit", "x", "--timeout", "soon"},
		"not an image":            {"submit", "x", "--image", "cli_test.go"},
		"no schema":               {"submit", "x", "--schema", "testdata/list-json.golden.missing"},
		"schema of text":          {"submit", "x", "--schema", "cli_test.go"},
		"negative position":       {"watch", "job_good", "--after", "-1"},
		"no job":                  {"watch"},
		"argument to list":        {"list", "x"},
		"not a URL":               {"list", "--url", "gateway"},
		"no such key file":        {"list", "--key-file", "/nonexistent"},
		"refused by the gateway":  {"submit", "x", "--url", g.URL + "/", "--session", "refuse"},
		"up without a model":      {"up"},
		"up under temp":           {"up", "--mock-model", "--data", filepath.Join(os.TempDir(), "x")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gateway := g
			if name == "refused by the gateway" {
				gateway = clienttest.New(t)
				gateway.PromptErr = errs.Param("/session_id", "This is no session id.")
				args = slices.Replace(args, 3, 4, gateway.URL)
			}
			r := newShell(t, gateway).run(args...)
			if r.code != 2 || r.stdout != "" || !strings.HasPrefix(r.stderr, "codexgw: ") {
				t.Errorf("exit %d, want 2\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

func TestAKeyThatIsMissingOrWrong(t *testing.T) {
	t.Parallel()
	g := full(t)
	s := newShell(t, g)
	delete(s.env, "CODEXGW_API_KEY")
	if r := s.run("list"); r.code != 2 || !strings.Contains(r.stderr, "--key-file") {
		t.Errorf("no key: exit %d\n%s", r.code, r.stderr)
	}
	// Where no gateway is, that comes first.
	if r := s.run("list", "--url", "http://127.0.0.1:1"); r.code != 3 {
		t.Errorf("no key, no gateway: exit %d\n%s", r.code, r.stderr)
	}
	s.env["CODEXGW_API_KEY"] = "cgw_local_wrong"
	if r := s.run("list"); r.code != 1 || !strings.Contains(r.stderr, "--key-file") || strings.Contains(r.stderr, "cgw_local_wrong") {
		t.Errorf("wrong key: exit %d\n%s", r.code, r.stderr)
	}
}

func TestTheLocalGatewaysKeyIsFound(t *testing.T) {
	t.Parallel()
	g := full(t)
	s := newShell(t, g)
	delete(s.env, "CODEXGW_API_KEY")
	data := filepath.Join(s.env["HOME"], ".local", "share", "codexgw")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "admin.key"), []byte(clienttest.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("list")
}

func TestSubmitSendsWhatTheFlagsSay(t *testing.T) {
	t.Parallel()
	g := full(t)
	s := newShell(t, g)
	s.stdin = "from standard input\n"
	schema := s.file("schema.json", `{"type":"object"}`)
	image := s.file("pixel.bin", "\x89PNG\r\n\x1a\nrest")
	out := s.ok("submit", "-", "--repo", "https://git.example/x.git", "--ref", "main", "--session", "mine", "--schema", schema,
		"--image", image, "--model", "gpt-6", "--timeout", "2m", "--sandbox", "read-only", "--network",
		"--metadata", "a=1", "--metadata", "b=x=y", "--idempotency-key", "once")
	if out != "job_good\n" {
		t.Errorf("printed %q", out)
	}
	want := []apiv1.PromptParams{{
		Prompt: "from standard input\n", SessionID: "mine", Model: "gpt-6",
		Images: []string{"data:image/png;base64,iVBORw0KGgpyZXN0"}, OutputSchema: json.RawMessage(`{"type":"object"}`),
		Repo: &apiv1.Repo{URL: "https://git.example/x.git", Ref: "main"}, Sandbox: "read-only", Network: true, TimeoutS: 120,
		Metadata: map[string]string{"a": "1", "b": "x=y"}, IdempotencyKey: "once",
	}}
	if diff := cmp.Diff(want, g.Prompts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSubmitPrintsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	t.Run("watch", func(t *testing.T) {
		t.Parallel()
		golden(t, "watch", newShell(t, full(t)).ok("submit", "x", "--watch"))
	})
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		var got apiv1.Accepted
		out := newShell(t, full(t)).ok("submit", "x", "--json")
		if err := json.Unmarshal([]byte(out), &got); err != nil || got.JobID != "job_good" || strings.Count(out, "\n") != 1 {
			t.Errorf("%q: %v", out, err)
		}
	})
	t.Run("watch and json", func(t *testing.T) {
		t.Parallel()
		s := newShell(t, full(t))
		out := s.ok("submit", "x", "--watch", "--json")
		var got []apiv1.Event
		for line := range strings.Lines(out) {
			var e apiv1.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, e)
		}
		if diff := cmp.Diff(goodJob().Events, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a job that fails", func(t *testing.T) {
		t.Parallel()
		g := clienttest.New(t)
		g.Add(badJob())
		r := newShell(t, g).run("submit", "x", "--watch")
		if r.code != 1 || r.stderr != "" {
			t.Errorf("exit %d, stderr %q", r.code, r.stderr)
		}
		golden(t, "submit-failed", r.stdout)
	})
}

func TestWatchGoesOnAfterALoss(t *testing.T) {
	t.Parallel()
	g := full(t)
	g.Connections = []clienttest.Connection{{Events: 3, Drop: true}, {Events: 1, Close: int(errs.CloseDraining), Reason: `{"retry_after_ms":5}`}}
	golden(t, "watch", newShell(t, g).ok("watch", "job_good"))
	var after []int64
	for _, s := range g.Subscribed() {
		after = append(after, s.After)
	}
	if diff := cmp.Diff([]int64{0, 3, 4}, after); diff != "" {
		t.Errorf("resumed after (-want +got):\n%s", diff)
	}
}

func TestWatchOnATerminal(t *testing.T) {
	t.Parallel()
	s := newShell(t, full(t))
	s.live = true
	colored := s.ok("watch", "job_good")
	if !strings.Contains(colored, "\x1b[32m✓ completed\x1b[0m") {
		t.Errorf("no colour in %q", colored)
	}
	s.env["NO_COLOR"] = "1"
	if out := s.ok("watch", "job_good"); strings.Contains(out, "\x1b") || !strings.Contains(out, "\r") {
		t.Errorf("NO_COLOR: %q", out)
	}
	s.env["TERM"] = "dumb"
	golden(t, "watch", s.ok("watch", "job_good"))
}

// TestInterruptLeavesTheJobAlone is not parallel: the signal is the process's.
func TestInterruptLeavesTheJobAlone(t *testing.T) {
	g := clienttest.New(t)
	g.Add(runningJob())
	g.Connections = []clienttest.Connection{{Events: 2, Hang: true}}
	var stderr bytes.Buffer
	code := cli.Main(t.Context(), cli.Process{
		Args: []string{"watch", "job_running"}, Stdout: &interrupter{}, Stderr: &stderr,
		LookupEnv: func(name string) (string, bool) {
			v, ok := map[string]string{"CODEXGW_URL": g.URL, "CODEXGW_API_KEY": clienttest.Key}[name]
			return v, ok
		},
	})
	if code != 130 || !strings.Contains(stderr.String(), "codexgw watch job_running --after 2") || len(g.Cancelled()) != 0 {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

// interrupter sends SIGINT when the second event is shown.
type interrupter struct{ lines int }

func (w *interrupter) Write(p []byte) (int, error) {
	if w.lines++; w.lines == 2 {
		return len(p), syscall.Kill(os.Getpid(), syscall.SIGINT)
	}
	return len(p), nil
}
