package codex

import (
	"encoding/json"
	"log/slog"
)

// ThreadParams open a thread. JobConfig makes them.
type ThreadParams struct {
	// Cwd is where commands start, absolute.
	Cwd string `json:"cwd,omitzero"`
	// WorkspaceRoots are what the profile's ":workspace_roots" stands for; none
	// means Cwd.
	WorkspaceRoots []string       `json:"runtimeWorkspaceRoots,omitzero"`
	ApprovalPolicy ApprovalPolicy `json:"approvalPolicy,omitzero"`
	// Permissions names the profile in Config that commands run under.
	Permissions string `json:"permissions,omitzero"`
	// Model is a slug such as "gpt-5.5"; empty is Codex's default.
	Model                 string       `json:"model,omitzero"`
	DeveloperInstructions string       `json:"developerInstructions,omitzero"`
	Config                ThreadConfig `json:"config,omitzero"`
}

// ThreadConfig is what config.toml would hold, for one thread. It holds the
// job's model token, so it prints and logs as [redacted].
type ThreadConfig map[string]any

var _ slog.LogValuer = ThreadConfig(nil)

// String implements fmt.Stringer.
func (ThreadConfig) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (ThreadConfig) GoString() string { return "[redacted]" }

// LogValue implements slog.LogValuer.
func (ThreadConfig) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// ApprovalPolicy says when Codex asks before it acts.
type ApprovalPolicy string

// The policies a job may choose (contract: approval_policy).
const (
	// ApprovalNever never asks; what would need approval is refused.
	ApprovalNever ApprovalPolicy = "never"
	// ApprovalOnRequest asks when the model wants to leave the sandbox.
	ApprovalOnRequest ApprovalPolicy = "on-request"
	// ApprovalUntrusted asks before every command and patch.
	ApprovalUntrusted ApprovalPolicy = "untrusted"
)

// TurnParams start a turn.
type TurnParams struct {
	ThreadID string  `json:"threadId"`
	Input    []Input `json:"input"`
	// Model and Effort, when given, hold for this turn and those after it.
	Model  string `json:"model,omitzero"`
	Effort string `json:"effort,omitzero"`
	// OutputSchema is a JSON Schema for the final message of this turn only. Codex
	// passes it to the model and does not check the answer.
	OutputSchema json.RawMessage `json:"outputSchema,omitzero"`
	// ClientMessageID comes back as clientId of the userMessage item.
	ClientMessageID string `json:"clientUserMessageId,omitzero"`
}

// Input is one part of what the user says. Codex takes at most 1 048 576
// characters of text.
type Input struct {
	Type string `json:"type"`
	Text string `json:"text,omitzero"`
	URL  string `json:"url,omitzero"`
	Path string `json:"path,omitzero"`
}

// Text is a text input.
func Text(s string) Input { return Input{Type: "text", Text: s} }

// ImageURL is an image as a data: URI; Codex refuses http ones.
func ImageURL(uri string) Input { return Input{Type: "image", URL: uri} }

// ImageFile is an image file that Codex itself reads. A missing file does not
// fail the turn: the model gets a note instead.
func ImageFile(path string) Input { return Input{Type: "localImage", Path: path} }

// ReviewTarget says what a review looks at; exactly as Codex's ReviewTarget.
type ReviewTarget struct {
	// Type is uncommittedChanges, baseBranch (Branch), commit (SHA) or custom
	// (Instructions).
	Type         string `json:"type"`
	Branch       string `json:"branch,omitzero"`
	SHA          string `json:"sha,omitzero"`
	Instructions string `json:"instructions,omitzero"`
}
