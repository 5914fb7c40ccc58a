package codex

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"codexgateway.dev/pkg/secret"
)

const (
	provider = "gw"
	profile  = "job"
)

// JobOptions say what one job's thread may do.
type JobOptions struct {
	// CodexHome is CODEX_HOME as Codex sees it. Commands cannot read it.
	CodexHome string
	// Workspace is the checkout, Cwd a directory in it (the same by default).
	Workspace string
	Cwd       string
	// ReadOnly makes the workspace read-only.
	ReadOnly bool
	// WritePaths are further directories that commands may write, such as those
	// that TMPDIR and HOME name in Env. They must exist: /tmp is not writable by
	// itself, and a Go or npm build without a writable TMPDIR fails.
	WritePaths []string
	// DenyPaths cannot be read: the directories of other jobs, the gateway's own.
	// A WritePath or a writable Workspace inside one is open all the same.
	DenyPaths []string
	// Network lets commands reach public addresses, through a proxy in Codex.
	Network bool
	// Env is the whole environment of commands, PATH, HOME, TMPDIR and LANG
	// included; nothing is inherited. Codex adds CODEX_*, NO_COLOR and pagers.
	Env map[string]string
	// ModelBaseURL ends in /v1; "/responses" is added. ModelToken is the job's own
	// and reaches neither a file nor a command.
	ModelBaseURL string
	ModelToken   secret.Value
	// RequestRetries are per HTTP request (5xx only), StreamRetries per step of the
	// model; they multiply: (r+1)*(s+1) requests. The broker retries better, so
	// zero of the first is right behind one.
	RequestRetries int
	StreamRetries  int
	// StreamIdle is how long the model may be silent; default 2 minutes.
	StreamIdle time.Duration
	// Approval defaults to never.
	Approval     ApprovalPolicy
	Model        string
	Instructions string
}

// JobConfig is what a job's thread is started and resumed with.
//
// Verified against 0.169.0, all of it given per thread and nothing in files:
//
//   - the permission profile counts; commands cannot read CODEX_HOME or DenyPaths
//     (EACCES), write only the workspace and WritePaths, and apply_patch obeys it;
//     .git, .agents and .codex of a workspace root stay read-only;
//   - a writable directory below a denied one is open, a read-only one is not:
//     its commands find an empty place, hence the refusal below;
//   - "dir/*" as a denied path is accepted and does nothing, hence the refusal of
//     such characters;
//   - network enabled alone is the host's network, loopback and the metadata
//     server included. With the feature network_proxy and a domain rule, commands
//     get a namespace whose only way out is Codex's proxy, which refuses private,
//     loopback and link-local addresses, also behind a name; the domain rule alone
//     does nothing. A command that reaches for a refused address is killed;
//   - a thread whose project has no trust level is trusted by writing config.toml,
//     with a profile too, and an MCP server of the repository then runs outside
//     the sandbox. "untrusted" prevents both, for Cwd or for the root;
//   - an accepted escalation runs with the whole disk writable, but what the
//     profile denies stays unreadable;
//   - thread/start must not name a sandbox: it would replace the profile.
//
// Untrusted also means that AGENTS.md is not read: pass its text as
// Instructions if that is wanted.
func JobConfig(o JobOptions) (ThreadParams, error) {
	if o.Cwd == "" {
		o.Cwd = o.Workspace
	}
	if o.StreamIdle <= 0 {
		o.StreamIdle = 2 * time.Minute
	}
	if o.Approval == "" {
		o.Approval = ApprovalNever
	}
	if err := o.check(); err != nil {
		return ThreadParams{}, fmt.Errorf("codex: job config: %w", err)
	}
	network, features := o.network()
	return ThreadParams{
		Cwd:                   o.Cwd,
		WorkspaceRoots:        []string{o.Workspace},
		ApprovalPolicy:        o.Approval,
		Permissions:           profile,
		Model:                 o.Model,
		DeveloperInstructions: o.Instructions,
		Config: ThreadConfig{
			"model_provider": provider,
			"model_providers": map[string]any{provider: map[string]any{
				"name":                      provider,
				"base_url":                  o.ModelBaseURL,
				"wire_api":                  "responses",
				"experimental_bearer_token": o.ModelToken.Reveal(),
				"request_max_retries":       o.RequestRetries,
				"stream_max_retries":        o.StreamRetries,
				"stream_idle_timeout_ms":    o.StreamIdle.Milliseconds(),
				// Codex would try a WebSocket seven times before POST.
				"supports_websockets": false,
			}},
			"permissions": map[string]any{profile: map[string]any{
				"filesystem": o.filesystem(),
				"network":    network,
			}},
			"projects": map[string]any{
				o.Workspace: map[string]any{"trust_level": "untrusted"},
				o.Cwd:       map[string]any{"trust_level": "untrusted"},
			},
			"shell_environment_policy": map[string]any{
				"inherit":                 "none",
				"ignore_default_excludes": false,
				"set":                     o.Env,
			},
			"features":   features,
			"web_search": "disabled",
			"agents":     map[string]any{"enabled": false},
			"skills":     map[string]any{"include_instructions": false},
			"analytics":  map[string]any{"enabled": false},
			"feedback":   map[string]any{"enabled": false},
		},
	}, nil
}

func (o *JobOptions) filesystem() map[string]any {
	fs := map[string]any{":root": "read", ":workspace_roots": "write"}
	if o.ReadOnly {
		fs[":workspace_roots"] = "read"
	}
	for _, p := range o.DenyPaths {
		fs[p] = "none"
	}
	for _, p := range o.WritePaths {
		fs[p] = "write"
	}
	// Last, so that no option opens it. Below /dev there is nothing to deny:
	// commands get a /dev of their own (verified, and tried by the worker's
	// probe), and a profile without full read is slow, see the jail's HomeDir.
	if !within(o.CodexHome, "/dev") {
		fs[o.CodexHome] = "none"
	}
	return fs
}

func (o *JobOptions) network() (network, features map[string]any) {
	features = map[string]any{
		"plugins": false,
		"apps":    false,
		"goals":   false,
		// A snapshot of the login shell is some 25 processes before the first
		// answer (140 ms, measured). Without it each command is a login shell.
		"shell_snapshot": false,
		// True, the default, makes a turn wait for ever when the model is away.
		"unbounded_connection_retries": false,
	}
	if !o.Network {
		return map[string]any{"enabled": false}, features
	}
	features["network_proxy"] = true
	return map[string]any{"enabled": true, "domains": map[string]any{"*": "allow"}}, features
}

func (o *JobOptions) check() error {
	if o.ModelBaseURL == "" || o.ModelToken.Empty() {
		return errors.New("model base URL and token are required")
	}
	if o.Env["PATH"] == "" {
		return errors.New("env without PATH: commands inherit nothing")
	}
	paths := append([]string{o.CodexHome, o.Workspace, o.Cwd}, o.WritePaths...)
	for _, p := range append(paths, o.DenyPaths...) {
		// Codex reads these characters as a pattern and then denies nothing.
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || strings.ContainsAny(p, "*?[]{}") {
			return fmt.Errorf("path %q is not absolute, clean and literal", p)
		}
	}
	if !within(o.Cwd, o.Workspace) {
		return errors.New("cwd is outside the workspace")
	}
	if within(o.Workspace, o.CodexHome) || within(o.CodexHome, o.Workspace) {
		return errors.New("workspace and CODEX_HOME overlap")
	}
	for _, p := range o.WritePaths {
		if within(p, o.CodexHome) {
			return fmt.Errorf("writable path %q is inside CODEX_HOME", p)
		}
	}
	for _, p := range o.DenyPaths {
		if o.ReadOnly && within(o.Workspace, p) {
			return fmt.Errorf("a read-only workspace inside the denied %q would be empty", p)
		}
	}
	return nil
}

// within reports whether p is dir or below it; both are clean.
func within(p, dir string) bool {
	rel, err := filepath.Rel(dir, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// HomeConfig is the config.toml of a prepared CODEX_HOME. It holds no secret and
// nothing of a job. Codex reads some switches before any thread exists, among
// them those that keep it from cloning its plugin list and asking for updates;
// only those need the file, the rest repeats JobConfig so that a thread opened
// without it is harmless. The default profile makes Codex refuse a thread that
// brings no profile of its own, unless it names a built-in one.
//
// A [permissions] table must not stand here without default_permissions: Codex
// then drops the whole file with a line on stderr and starts with its defaults.
func HomeConfig() []byte { return []byte(homeConfig) }

const homeConfig = `check_for_update_on_startup = false
approval_policy = "never"
default_permissions = ":read-only"
web_search = "disabled"

[features]
plugins = false
apps = false
goals = false
unbounded_connection_retries = false

[agents]
enabled = false

[skills]
include_instructions = false

[shell_environment_policy]
inherit = "none"
ignore_default_excludes = false

[analytics]
enabled = false

[feedback]
enabled = false

[history]
persistence = "none"
`
