package campaign

import (
	"log/slog"
	"time"

	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/internal/schedule"
	"codexgateway.dev/test/chaos/internal/wire"
)

// Config of a campaign. All fields are required but where it is said.
type Config struct {
	Seed   uint64
	Length time.Duration
	// Platform is what the documents and the messages are on.
	Platform schedule.Platform
	// Gap is the mean time between two harms.
	Gap time.Duration
	// Settle is how long accepted jobs may take to end once nothing is harmed
	// any more.
	Settle time.Duration

	Edges, Workers, Reconcilers int
	// Conversations is how many run at one time; Watchers how many follow each job.
	Conversations, Watchers int
	// Lease is the workers', ClaimDelay how long a queued job waits before it is
	// announced again.
	Lease, ClaimDelay time.Duration
	// Skew bounds how far each node's clock is off, either way.
	Skew time.Duration
	// Only are the harms to choose from; nil: all.
	Only []schedule.Action
	// Faults are those of the whole campaign, beside the phases of the schedule.
	Faults wire.Faults
	// BreakFence lets the store overwrite the event log.
	BreakFence bool

	// Dir is an empty directory, not below the temporary one.
	Dir string
	// Program is this program, which starts itself as its nodes.
	Program string
	// FakeCodex is the built test/fakecodex.
	FakeCodex string
	// RealCodex is a Codex CLI for the last of the workers; empty: all have the fake.
	RealCodex string
	Logger    *slog.Logger
}

// Result is what a campaign gave.
type Result struct {
	Platform   string `json:"platform"`
	Seed       uint64 `json:"seed"`
	Length     string `json:"length"`
	Took       string `json:"took"`
	BreakFence bool   `json:"break_fence,omitempty"`
	// Harms counts what was done, by action; Kills those that ended a process.
	Harms map[schedule.Action]int `json:"harms"`
	Kills int                     `json:"kills"`
	// Tries counts submits sent, answered or not.
	Tries int `json:"submit_tries"`
	// Died are processes that ended although nobody harmed them.
	Died int `json:"died"`
	// Refused are submits that the gateway refused for good.
	Refused int `json:"refused"`
	// Alarms are lines in the logs of the nodes that tell of a panic or a data race.
	Alarms int `json:"alarms"`
	// Passed is false when a rule is broken or one of the three above is not 0.
	Passed bool `json:"passed"`
	// Notes say more about Died, Refused and Alarms.
	Notes []string `json:"notes,omitempty"`
	*check.Report
}
