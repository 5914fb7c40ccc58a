package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/freeport"
)

// Exit codes of the command line, as documented.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitUnreachable
)

// printed is what a command printed and how it ended.
type printed struct {
	stdout, stderr string
	code           int
}

// codexgw runs a command of the command line client against a gateway; dir is
// where it works.
func codexgw(t *testing.T, g *gateway, dir string, args ...string) printed {
	t.Helper()
	return codexgwWith(t, map[string]string{"CODEXGW_URL": g.url, "CODEXGW_KEY_FILE": filepath.Join(g.dir, "admin.key")}, dir, args...)
}

func codexgwWith(t *testing.T, env map[string]string, dir string, args ...string) printed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), jobLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, tests.gateway, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &stdout, &stderr, dir, environment(env)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return printed{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want checks the exit code and that standard output holds some texts.
func (p *printed) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if p.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", p.code, code, p.stdout, p.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(p.stdout, text) {
			t.Errorf("no %q in:\n%s", text, p.stdout)
		}
	}
}

// project is a git repository with one commit.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	writeFile(t, filepath.Join(dir, "greeting.txt"), "hello\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	return dir
}

func TestCommandLineFromSubmitToApply(t *testing.T) {
	t.Parallel()
	g := shared(t)
	dir := project(t)
	run := func(args ...string) printed { return codexgw(t, g, dir, args...) }

	p := run("submit", "--watch", "--json", "--repo", "file://"+dir, "--session", "cli", "--metadata", "ticket=7",
		"mock: shell echo world >> greeting.txt\nmock: write new/file.txt fresh\nmock: say changed")
	p.want(t, exitOK)
	var events []apiv1.Event
	if err := eachLine(strings.NewReader(p.stdout), func(line string) error {
		e, err := decodeEvent(line)
		events = append(events, e)
		return err
	}); err != nil || len(events) == 0 {
		t.Fatalf("%v in %s%s", err, p.stdout, p.stderr)
	}
	id := events[0].JobID
	checkLog(t, id, events)

	p = run("watch", id)
	p.want(t, exitOK, "changed", "greeting.txt")
	if strings.ContainsRune(p.stdout, '\x1b') {
		t.Errorf("plain output holds escape sequences:\n%q", p.stdout)
	}
	p = run("get", id)
	p.want(t, exitOK, id, "completed", "ticket=7", "changed")
	p = run("get", "--json", id)
	p.want(t, exitOK)
	var job apiv1.Job
	if err := json.Unmarshal([]byte(p.stdout), &job); err != nil || job.JobID != id || job.Content != "changed" {
		t.Errorf("get --json: %v: %s", err, p.stdout)
	}
	p = run("list", "--session", "cli")
	p.want(t, exitOK, id, "completed")
	p = run("diff", id)
	p.want(t, exitOK, "+world\n", "+fresh\n")

	p = run("apply", id)
	p.want(t, exitOK, "greeting.txt", "new/file.txt")
	for name, want := range map[string]string{"greeting.txt": "hello\nworld\n", "new/file.txt": "fresh\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("after apply %s = %q, %v", name, got, err)
		}
	}
	// A second time it does not fit, and then changes nothing.
	p = run("apply", id)
	p.want(t, exitFailed)
	if p.stderr == "" {
		t.Error("a patch that does not fit is refused without a word")
	}

	p = run("artifacts", "--download", "out", "--json", id)
	p.want(t, exitOK)
	var list apiv1.Artifacts
	if err := json.Unmarshal([]byte(p.stdout), &list); err != nil || len(list.Artifacts) != 4 {
		t.Fatalf("artifacts --json: %v: %s", err, p.stdout)
	}
	for _, a := range list.Artifacts {
		raw, err := os.ReadFile(filepath.Join(dir, "out", a.Name))
		if sum := sha256.Sum256(raw); err != nil || hex.EncodeToString(sum[:]) != a.SHA256 || int64(len(raw)) != a.Size {
			t.Errorf("downloaded %s: %d bytes, %v; want %+v", a.Name, len(raw), err, a)
		}
	}
}

func TestCommandLineExitCodes(t *testing.T) {
	t.Parallel()
	g := shared(t)
	dir := t.TempDir()
	failing := g.run(t, "mock: status 400").JobID
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"submit":               {[]string{"submit", "say hello"}, exitOK},
		"watch a failed job":   {[]string{"watch", failing}, exitFailed},
		"watch it as JSON":     {[]string{"watch", "--json", failing}, exitFailed},
		"submit and fail":      {[]string{"submit", "--watch", "mock: status 400"}, exitFailed},
		"unknown job":          {[]string{"get", "job_unknown"}, exitFailed},
		"cancel a failed job":  {[]string{"cancel", failing}, exitFailed},
		"no prompt":            {[]string{"submit"}, exitUsage},
		"unknown flag":         {[]string{"submit", "--nonsense", "x"}, exitUsage},
		"unknown command":      {[]string{"nonsense"}, exitUsage},
		"what the edge denies": {[]string{"submit", "--repo", "ext::sh", "x"}, exitUsage},
		"version":              {[]string{"version"}, exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := codexgw(t, g, dir, c.args...)
			p.want(t, c.code)
			if c.code == exitUsage && p.stderr == "" {
				t.Error("nothing says what is wrong")
			}
		})
	}
	t.Run("no gateway", func(t *testing.T) {
		t.Parallel()
		nowhere := freeport.Addr()
		p := codexgwWith(t, map[string]string{"CODEXGW_URL": "http://" + nowhere, "CODEXGW_API_KEY": "k"}, dir, "list")
		p.want(t, exitUnreachable)
		if !strings.Contains(p.stderr, nowhere) || !strings.Contains(p.stderr, "codexgw up") {
			t.Errorf("stderr does not say which gateway and what to do: %s", p.stderr)
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		t.Parallel()
		p := codexgwWith(t, map[string]string{"CODEXGW_URL": g.url, "CODEXGW_API_KEY": "cgw_local_wrong"}, dir, "list")
		p.want(t, exitFailed)
	})
}

func TestCommandLineCancels(t *testing.T) {
	t.Parallel()
	g := shared(t)
	id := g.submit(t, apiv1.PromptParams{Prompt: "mock: hang"})
	g.awaitEvent(t, id, "the turn starts", saysMethod("turn/started"))
	p := codexgw(t, g, t.TempDir(), "cancel", "--reason", "enough", id)
	p.want(t, exitOK, id)
	o := g.await(t, id)
	o.wantStatus(t, apiv1.StatusCancelled, "")
}
