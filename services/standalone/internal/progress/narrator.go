package progress

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/services/standalone/internal/termsafe"
)

// workspaceDir is where a job sees its workspace, unless Codex says otherwise.
const workspaceDir = "/workspace"

// narrator tells a screen what events mean.
type narrator struct {
	screen screen
	now    func() time.Time

	started time.Time // of the job, by the gateway's clock
	cwd     string    // the workspace, to show paths below it; empty: workspaceDir
	usage   apiv1.Usage
	// streamed is how much text of an open agent message was shown.
	streamed map[string]*strings.Builder
	// said is the last agent message that was shown.
	said string
}

// event shows one event. What does not decode is a newer gateway's and is left
// out: --json shows it.
func (n *narrator) event(e *apiv1.Event) {
	at, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		at = n.now()
	}
	switch e.Type {
	case eventlog.TypeQueued:
		n.screen.line(span{note, "● "}, span{bold, termsafe.Line(e.JobID)}, span{normal, " queued"})
		n.doing("waiting for a worker")
	case eventlog.TypeStarted:
		n.begin(e, at)
	case eventlog.TypeWaiting:
		n.screen.line(span{note, "◌ waiting for an answer to an approval"})
		n.doing("waiting for an approval")
	case eventlog.TypeResumed:
		n.screen.line(span{note, "● resumed"})
		n.doing("working")
	case eventlog.TypeRetrying:
		var d struct {
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(e.Data, &d)
		n.streamed = nil // open items are gone with their attempt
		n.screen.line(span{note, "↻ trying again"}, span{dim, because(d.Reason)})
		n.doing("waiting for a worker")
	case eventlog.TypeCodex:
		var c notification
		if json.Unmarshal(e.Data, &c) == nil {
			n.codex(&c)
		}
	case eventlog.TypeCompleted, eventlog.TypeFailed, eventlog.TypeCancelled, eventlog.TypeTimedOut:
		n.end(e, at)
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + termsafe.Line(reason) + ")"
}

func (n *narrator) doing(what string) { n.screen.status(what, n.now()) }

func (n *narrator) begin(e *apiv1.Event, at time.Time) {
	if n.started.IsZero() {
		n.started = at
	}
	text := "started"
	if e.Attempt > 1 {
		text += ", attempt " + strconv.Itoa(e.Attempt)
	}
	n.screen.line(span{note, "● "}, span{normal, text})
	n.doing("starting Codex")
}

// codex shows one notification of Codex.
func (n *narrator) codex(c *notification) {
	switch c.Method {
	case "thread/started":
		var p threadParams
		if json.Unmarshal(c.Params, &p) == nil && len(p.Thread.Environments) > 0 {
			n.cwd = p.Thread.Environments[0].Cwd
		}
	case "turn/started":
		n.doing("thinking")
	case "item/started":
		var p itemParams
		if json.Unmarshal(c.Params, &p) == nil {
			n.itemStarted(&p.Item)
		}
	case "item/agentMessage/delta":
		var p deltaParams
		if json.Unmarshal(c.Params, &p) == nil {
			n.say(p.ItemID, p.Delta)
		}
	case "item/commandExecution/outputDelta":
		var p deltaParams
		if json.Unmarshal(c.Params, &p) == nil {
			if last := lastLine(p.Delta); last != "" {
				n.doing("running: " + last)
			}
		}
	case "item/completed":
		var p itemParams
		if json.Unmarshal(c.Params, &p) == nil {
			n.itemCompleted(&p.Item)
		}
	case "thread/tokenUsage/updated":
		var p usageParams
		if json.Unmarshal(c.Params, &p) == nil {
			t := p.TokenUsage.Total
			n.usage = apiv1.Usage{
				InputTokens: t.Input, CachedInputTokens: t.Cached, OutputTokens: t.Output,
				ReasoningOutputTokens: t.Reasoning, TotalTokens: t.Total,
			}
		}
	case "error":
		var p errorParams
		if json.Unmarshal(c.Params, &p) == nil {
			n.codexError(&p)
		}
	}
}

func (n *narrator) codexError(p *errorParams) {
	text := termsafe.Line(p.Error.Message)
	if p.Error.Details != "" {
		text += ": " + termsafe.Line(p.Error.Details)
	}
	if p.WillRetry {
		n.screen.line(span{note, "↻ "}, span{dim, text})
		n.doing("reconnecting to the model")
		return
	}
	n.screen.line(span{bad, "✗ "}, span{normal, text})
}

// ended is the data of a terminal event.
type ended struct {
	Content string          `json:"content"`
	Error   *apiv1.JobError `json:"error"`
	Usage   apiv1.Usage     `json:"usage"`
}

func (n *narrator) end(e *apiv1.Event, at time.Time) {
	n.screen.status("", at)
	n.screen.endText()
	var d ended
	_ = json.Unmarshal(e.Data, &d)
	if d.Content != "" && d.Content != n.said {
		n.screen.gap()
		n.screen.text(termsafe.Text(d.Content))
		n.screen.endText()
		n.screen.gap()
	}
	if d.Usage.TotalTokens == 0 {
		d.Usage = n.usage
	}
	facts := tokens(d.Usage)
	if !n.started.IsZero() {
		facts += " · " + seconds(at.Sub(n.started))
	}
	word := strings.ReplaceAll(strings.TrimPrefix(e.Type, "job."), "_", " ")
	if e.Type == eventlog.TypeCompleted {
		n.screen.line(span{good, "✓ " + word}, span{dim, facts})
	} else {
		n.screen.line(span{bad, "✗ " + word}, span{dim, facts})
	}
	if d.Error != nil {
		n.screen.line(span{bad, "  " + termsafe.Line(d.Error.Code)}, span{normal, ": " + termsafe.Line(d.Error.Message)})
		if row := errs.Lookup(errs.Code(d.Error.Code)); string(row.Code) == d.Error.Code {
			n.screen.line(span{dim, "  " + row.Help})
		}
	}
}

// tokens is usage for people, empty when nothing was used.
func tokens(u apiv1.Usage) string {
	if u.TotalTokens == 0 {
		return ""
	}
	return fmt.Sprintf(" · %s tokens (%s in, %s cached, %s out)",
		grouped(u.TotalTokens), grouped(u.InputTokens), grouped(u.CachedInputTokens), grouped(u.OutputTokens))
}

// grouped writes a count with a comma every three digits.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
