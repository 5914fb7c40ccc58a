package codex

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/secret"
)

func jobOptions() JobOptions {
	return JobOptions{
		CodexHome:    "/codex-home",
		Workspace:    "/jobs/a/workspace",
		Cwd:          "/jobs/a/workspace/sub",
		WritePaths:   []string{"/jobs/a/tmp", "/jobs/a/home"},
		DenyPaths:    []string{"/jobs"},
		Env:          map[string]string{"PATH": "/usr/bin:/bin", "HOME": "/jobs/a/home", "TMPDIR": "/jobs/a/tmp", "LANG": "C.UTF-8"},
		ModelBaseURL: "http://127.0.0.1:4000/v1",
		ModelToken:   secret.NewValue("job-token"),
		Model:        "gpt-5.5",
	}
}

func TestJobConfigGolden(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*JobOptions){
		"write":     func(*JobOptions) {},
		"read-only": func(o *JobOptions) { o.ReadOnly, o.DenyPaths = true, []string{"/jobs/b"} },
		"network":   func(o *JobOptions) { o.Network, o.Approval, o.StreamRetries = true, ApprovalOnRequest, 2 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := jobOptions()
			change(&o)
			p, err := JobConfig(o)
			if err != nil {
				t.Fatal(err)
			}
			line, err := encodeLine(p)
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "job-"+name+".json", got)
		})
	}
}

func TestHomeConfigGolden(t *testing.T) {
	t.Parallel()
	golden(t, "home-config.toml", HomeConfig())
}

func TestJobConfigRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*JobOptions){
		"a relative workspace":                    func(o *JobOptions) { o.Workspace = "ws" },
		"a path that is not clean":                func(o *JobOptions) { o.DenyPaths = []string{"/jobs/"} },
		"a pattern that Codex would ignore":       func(o *JobOptions) { o.DenyPaths = []string{"/jobs/*"} },
		"a cwd outside the workspace":             func(o *JobOptions) { o.Cwd = "/jobs/a/workspace2" },
		"a workspace in CODEX_HOME":               func(o *JobOptions) { o.Workspace, o.Cwd = "/codex-home/ws", "" },
		"CODEX_HOME in the workspace":             func(o *JobOptions) { o.CodexHome = "/jobs/a/workspace/home" },
		"a writable path in CODEX_HOME":           func(o *JobOptions) { o.WritePaths = []string{"/codex-home/tmp"} },
		"a read-only workspace in a denied place": func(o *JobOptions) { o.ReadOnly = true },
		"an environment without PATH":             func(o *JobOptions) { o.Env = nil },
		"no model token":                          func(o *JobOptions) { o.ModelToken = secret.Value{} },
		"no model URL":                            func(o *JobOptions) { o.ModelBaseURL = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := jobOptions()
			change(&o)
			if _, err := JobConfig(o); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// golden compares got with testdata/config/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "config", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
