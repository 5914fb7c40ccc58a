package cli_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client/clienttest"
	"codexgateway.dev/services/standalone/internal/cli"
)

var update = flag.Bool("update", false, "write the golden files")

// shell is a person at a machine with a gateway.
type shell struct {
	t   *testing.T
	env map[string]string
	dir string
	// live makes standard output a terminal.
	live  bool
	stdin string
	cli.Process
}

func newShell(t *testing.T, g *clienttest.Gateway) *shell {
	t.Helper()
	s := &shell{t: t, env: map[string]string{"HOME": t.TempDir(), "PATH": os.Getenv("PATH"), "CODEXGW_API_KEY": clienttest.Key}, dir: t.TempDir()}
	if g != nil {
		s.env["CODEXGW_URL"] = g.URL
	}
	return s
}

// result is what one command did.
type result struct {
	code           int
	stdout, stderr string
}

func (s *shell) run(args ...string) result {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	p := s.Process
	p.Args, p.Stdin, p.Stdout, p.Stderr, p.Dir = args, strings.NewReader(s.stdin), &stdout, &stderr, s.dir
	p.LookupEnv = func(name string) (string, bool) { v, ok := s.env[name]; return v, ok }
	p.Terminal = func(w io.Writer) (func() int, bool) { return func() int { return 60 }, s.live && w == &stdout }
	out := result{code: cli.Main(s.t.Context(), p)}
	out.stdout, out.stderr = stdout.String(), stderr.String()
	if strings.Contains(out.stdout+out.stderr, clienttest.Key) {
		s.t.Errorf("codexgw %v shows the key", args)
	}
	return out
}

// ok runs a command that must succeed and returns what it printed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	if r.code != 0 {
		s.t.Fatalf("codexgw %v: exit %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// file writes a file in the shell's directory and returns its path.
func (s *shell) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

const patch = `diff --git a/hello.txt b/hello.txt
--- a/hello.txt
+++ b/hello.txt
@@ -1,2 +1,2 @@
 hello
-world
+codex
`

func goodJob() clienttest.Job {
	return clienttest.Job{
		Job: apiv1.Job{
			JobID: "job_good", ConversationID: "conv_1", SessionID: "mine\x1b[2J", Status: apiv1.StatusCompleted, Attempt: 1,
			CreatedAt: "2026-11-22T18:00:00.000Z", StartedAt: "2026-11-22T18:00:01.000Z", EndedAt: "2026-11-22T18:00:03.500Z",
			Content: "Done.\x1b]0;owned\a\nAll of it.", Model: "gpt-5.5", Metadata: map[string]string{"b": "2", "a": "1"},
			Usage: apiv1.Usage{InputTokens: 1000, CachedInputTokens: 200, OutputTokens: 50, TotalTokens: 1050},
		},
		Events: clienttest.Events("job_good", "job.queued", `job.started {"attempt":1}`,
			`codex {"method":"item/agentMessage/delta","params":{"itemId":"m","delta":"Do"}}`,
			`codex {"method":"item/agentMessage/delta","params":{"itemId":"m","delta":"ne."}}`,
			`codex {"method":"item/completed","params":{"item":{"type":"agentMessage","id":"m","text":"Done."}}}`,
			`job.completed {"status":"completed","content":"Done.","usage":{"total_tokens":1050,"input_tokens":1000,"cached_input_tokens":200,"output_tokens":50},"artifacts":["diff.patch"]}`),
		Files: map[string][]byte{"diff.patch": []byte(patch), "last_message.txt": []byte("Done.\n")},
	}
}

func badJob() clienttest.Job {
	return clienttest.Job{
		Job: apiv1.Job{
			JobID: "job_bad", ConversationID: "conv_2", Status: apiv1.StatusFailed, Attempt: 3,
			CreatedAt: "2026-11-22T18:01:00.000Z", StartedAt: "2026-11-22T18:01:00.000Z", EndedAt: "2026-11-22T18:02:00.000Z",
			Error: &apiv1.JobError{Code: "stalled", Message: "Codex made no progress for too long.", Retryable: true},
		},
		Events: clienttest.Events("job_bad", "job.queued", "job.started",
			`job.failed {"status":"failed","error":{"code":"stalled","message":"Codex made no progress for too long.","retryable":true}}`),
	}
}

func runningJob() clienttest.Job {
	return clienttest.Job{
		Job:    apiv1.Job{JobID: "job_running", ConversationID: "conv_3", Status: apiv1.StatusRunning, Attempt: 1, CreatedAt: "2026-11-22T18:03:00.000Z"},
		Events: clienttest.Events("job_running", "job.queued", "job.started"),
	}
}

// full is a gateway with one job of each kind.
func full(t *testing.T) *clienttest.Gateway {
	t.Helper()
	g := clienttest.New(t)
	g.Add(goodJob())
	g.Add(badJob())
	g.Add(runningJob())
	return g
}
