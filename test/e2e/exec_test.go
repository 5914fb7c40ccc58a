package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/mockmodel"
)

// execModel is what both sides ask: the default of the real Codex may be another.
const execModel = "gpt-5.5"

// exec submits a prompt to POST /exec and reads its lines to the end.
func (g *gateway) exec(t *testing.T, params apiv1.PromptParams) (lines, jobID string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("the stream did not end"))
	defer cancel()
	body, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.anyURL()+"/exec", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", g.key.Reveal())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v: %s", resp.StatusCode, err, raw)
	}
	return string(raw), resp.Header.Get("X-Job-Id")
}

// machine is where the real Codex runs as on a developer's machine.
type machine struct{ home, dir string }

// newMachine makes one whose model is the mock at a URL.
func newMachine(t *testing.T, model string) machine {
	t.Helper()
	m := machine{home: dataDir(t), dir: dataDir(t)}
	writeFile(t, filepath.Join(m.home, "config.toml"), mockmodel.CodexConfig(model, "mock"))
	return m
}

// exec is codex exec --json; its exit code does not matter here.
func (m machine) exec(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("codex exec did not end"))
	defer cancel()
	cmd := exec.CommandContext(ctx, tests.codex.Binary, append([]string{"exec", "--json", "--skip-git-repo-check", "-m", execModel}, args...)...)
	cmd.Dir = m.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.home, "CODEX_HOME=" + m.home, "LANG=C.UTF-8", "SHELL=/bin/bash"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("codex exec: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// perMachine is what differs between two machines.
var perMachine = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`"thread_id":"[^"]+"`), `"thread_id":"THREAD"`},
	{regexp.MustCompile(`"path":"[^"]*/`), `"path":"/`},
}

func withoutMachine(text string) []string {
	for _, v := range perMachine {
		text = v.re.ReplaceAllString(text, v.to)
	}
	return strings.Split(text, "\n")
}

// The same prompt, the same answers of the model: what POST /exec prints is what
// codex exec --json prints.
func TestExecPrintsWhatCodexExecPrints(t *testing.T) {
	t.Parallel()
	g := shared(t)
	model, err := mockmodel.Start(t.Context(), mockmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Stop(context.WithoutCancel(t.Context())) })
	for name, prompt := range map[string]string{
		"hello":     "say hello",
		"reasoning": "mock: reasoning **I** think. mock: say Look <here> & there",
		"commands":  "mock: say Running it. mock: shell echo hi; exit 3\nmock: shell cat /nonexistent\nmock: usage 5 7\nmock: say done",
		"files": "mock: patch\n*** Begin Patch\n*** Add File: a.txt\n+one\n*** Add File: b.txt\n+b\n*** End Patch\n" +
			"mock: patch\n*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+two\n*** Delete File: b.txt\n*** End Patch\nmock: write sub/c.txt c",
		"stream cut once":  "mock: cut 1\nmock: say here",
		"context too long": "mock: fail context_length_exceeded",
		"escalation":       "mock: escalate echo hi",
		"slow":             "mock: deltas 10 20",
		"without output":   "mock: shell true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := newMachine(t, model.BaseURL()).exec(t, "-s", "workspace-write", prompt)
			got, _ := g.exec(t, apiv1.PromptParams{Prompt: prompt, Model: execModel})
			if d := cmp.Diff(withoutMachine(want), withoutMachine(got)); d != "" {
				t.Errorf("(-codex exec +gateway)\n%s", d)
			}
		})
	}
}

// The thread's id is what goes on with it, and usage is the thread's.
func TestExecGoesOnWithAThread(t *testing.T) {
	t.Parallel()
	g := shared(t)
	model, err := mockmodel.Start(t.Context(), mockmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = model.Stop(context.WithoutCancel(t.Context())) })
	thread := func(lines string) string {
		var first struct {
			ThreadID string `json:"thread_id"`
		}
		text, _, _ := strings.Cut(lines, "\n")
		if err := json.Unmarshal([]byte(text), &first); err != nil || first.ThreadID == "" {
			t.Fatalf("%q: %v", text, err)
		}
		return first.ThreadID
	}
	m := newMachine(t, model.BaseURL())
	before := thread(m.exec(t, "-s", "workspace-write", "mock: say one"))
	want := m.exec(t, "resume", before, "mock: say two")

	lines, _ := g.exec(t, apiv1.PromptParams{Prompt: "mock: say one", Model: execModel})
	got, jobID := g.exec(t, apiv1.PromptParams{Prompt: "mock: say two", Model: execModel, ConversationID: thread(lines)})
	if d := cmp.Diff(withoutMachine(want), withoutMachine(got)); d != "" {
		t.Errorf("(-codex exec resume +gateway)\n%s", d)
	}
	if thread(got) != thread(lines) {
		t.Errorf("another thread: %s, want %s", thread(got), thread(lines))
	}
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
}
