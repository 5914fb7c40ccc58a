package mockmodel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/secret"
)

// execItem is what the test reads of an item of `codex exec --json`.
type execItem struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Output string `json:"aggregated_output"`
	Status string `json:"status"`
}

type execLine struct {
	Type  string   `json:"type"`
	Item  execItem `json:"item"`
	Usage struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
	} `json:"usage"`
}

// runCodex runs the real Codex on the prompt in a fresh directory.
func runCodex(t *testing.T, model, prompt string) (dir string, lines []execLine) {
	t.Helper()
	bin := os.Getenv("CODEXGW_TEST_CODEX")
	if bin == "" {
		t.Skip("CODEXGW_TEST_CODEX is not set: give it the path of a native Codex binary to run this test")
	}
	m, err := mockmodel.Start(t.Context(), mockmodel.Options{Token: secret.NewValue("test-token")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t.Context has ended by then
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	home, dir := t.TempDir(), t.TempDir()
	config := "approval_policy = \"never\"\n" + mockmodel.CodexConfig(m.BaseURL(), "test-token")
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "exec", "--json", "--skip-git-repo-check", "-m", model,
		"-s", "danger-full-access", "-C", dir, prompt)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "CODEX_HOME=" + home, "LANG=C.UTF-8"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("codex exec: %v\n%s\n%s", err, out, stderr.String())
	}
	for raw := range bytes.Lines(out) {
		var l execLine
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("codex printed %q: %v", raw, err)
		}
		lines = append(lines, l)
	}
	return dir, lines
}

func items(lines []execLine, typ string) []execItem {
	var out []execItem
	for _, l := range lines {
		if l.Type == "item.completed" && l.Item.Type == typ {
			out = append(out, l.Item)
		}
	}
	return out
}

// TestRealCodexRunsTheScript proves that the real Codex takes the mock's calls:
// the command runs, the patch and the write change files, the text arrives.
// The models differ in the tools that Codex offers them.
func TestRealCodexRunsTheScript(t *testing.T) {
	t.Parallel()
	const prompt = `Please. mock: reasoning I think. mock: say Running it. mock: shell echo hi there > shell.txt; cat shell.txt
mock: patch
*** Begin Patch
*** Add File: patched.txt
+one
+two
*** End Patch
mock: write sub/written.txt three\nfour
mock: cut 1
mock: usage 5 7
mock: say All done.`
	for _, model := range []string{"gpt-5.5", "gpt-5.6-sol", "unknown-model"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir, lines := runCodex(t, model, prompt)
			for name, want := range map[string]string{
				"shell.txt": "hi there\n", "patched.txt": "one\ntwo\n", "sub/written.txt": "three\nfour\n",
			} {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || string(got) != want {
					t.Errorf("%s = %q, %v; want %q", name, got, err, want)
				}
			}
			if got := items(lines, "command_execution"); len(got) == 0 || !strings.Contains(got[0].Output, "hi there") {
				t.Errorf("command_execution items = %+v", got)
			}
			msgs := items(lines, "agent_message")
			if len(msgs) < 2 || msgs[0].Text != "Running it." || msgs[len(msgs)-1].Text != "All done." {
				t.Errorf("agent_message items = %+v", msgs)
			}
			if last := lines[len(lines)-1]; last.Type != "turn.completed" || last.Usage.Output < 7 {
				t.Errorf("last line = %+v", last)
			}
		})
	}
}
