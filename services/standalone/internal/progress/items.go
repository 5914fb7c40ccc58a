package progress

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/services/standalone/internal/termsafe"
)

// outputLines is how many of a command's last lines are shown.
const outputLines = 5

func (n *narrator) itemStarted(it *item) {
	switch it.Type {
	case "commandExecution":
		if n.cwd == "" {
			n.cwd = it.Cwd
		}
		n.screen.cut(span{note, "▸ "}, span{bold, oneLine(it.script())})
		n.doing("running")
	case "agentMessage":
		n.doing("answering")
	case "reasoning":
		n.doing("thinking")
	case "fileChange":
		n.doing("writing files")
	case "mcpToolCall":
		n.screen.cut(span{note, "▸ "}, span{normal, "tool " + termsafe.Line(it.Tool)})
	case "webSearch":
		n.screen.cut(span{note, "▸ "}, span{normal, "search " + termsafe.Line(it.Query)})
	}
}

func (n *narrator) itemCompleted(it *item) {
	switch it.Type {
	case "commandExecution":
		n.commandCompleted(it)
	case "fileChange":
		for i := range it.Changes {
			n.changed(it, &it.Changes[i])
		}
	case "agentMessage":
		n.said = it.Text
		n.finishSaying(it)
	}
	if it.Type != "userMessage" {
		n.doing("thinking")
	}
}

func (n *narrator) commandCompleted(it *item) {
	lines := strings.Split(strings.TrimRight(termsafe.Text(it.Output), "\n"), "\n")
	if lines[0] == "" && len(lines) == 1 {
		lines = nil
	}
	if more := len(lines) - outputLines; more > 0 {
		n.screen.line(span{dim, fmt.Sprintf("  │ … %d more %s", more, plural(more, "line"))})
		lines = lines[more:]
	}
	for _, l := range lines {
		n.screen.cut(span{dim, "  │ " + termsafe.Line(l)})
	}
	took := ""
	if it.DurationMs != nil && *it.DurationMs >= 100 {
		took = " · " + seconds(time.Duration(*it.DurationMs)*time.Millisecond)
	}
	switch {
	case it.ExitCode == nil:
		n.screen.line(span{bad, "  ✗ " + termsafe.Line(it.Status)}, span{dim, took})
	case *it.ExitCode == 0:
		n.screen.line(span{good, "  ✓"}, span{dim, " exit 0" + took})
	default:
		n.screen.line(span{bad, "  ✗ exit " + strconv.Itoa(*it.ExitCode)}, span{dim, took})
	}
}

func (n *narrator) changed(it *item, c *change) {
	verb, ok := map[string]string{"add": "added", "delete": "deleted", "update": "changed"}[c.Kind.Type]
	if !ok {
		verb = termsafe.Line(c.Kind.Type)
	}
	if it.Status != "completed" {
		n.screen.line(span{bad, "✗ "}, span{normal, n.path(c.Path)}, span{dim, " not " + verb + ": " + termsafe.Line(it.Status)})
		return
	}
	name := n.path(c.Path)
	if c.Kind.MovePath != "" {
		name += " → " + n.path(c.Kind.MovePath)
	}
	added, removed := c.counts()
	n.screen.line(span{note, "± "}, span{bold, name}, span{good, fmt.Sprintf(" +%d", added)},
		span{bad, fmt.Sprintf(" -%d", removed)}, span{dim, " " + verb})
}

// path shows a path below the workspace as relative.
func (n *narrator) path(p string) string {
	dir := n.cwd
	if dir == "" {
		dir = workspaceDir
	}
	return termsafe.Line(strings.TrimPrefix(p, strings.TrimSuffix(dir, "/")+"/"))
}

// say streams a piece of an agent message.
func (n *narrator) say(itemID, delta string) {
	if n.streamed == nil {
		n.streamed = make(map[string]*strings.Builder)
	}
	shown, open := n.streamed[itemID]
	if !open {
		shown = &strings.Builder{}
		n.streamed[itemID] = shown
		n.screen.gap()
	}
	shown.WriteString(delta)
	n.screen.text(termsafe.Text(delta))
}

// finishSaying shows what was not streamed of an agent message. A text that is
// not the continuation of what was shown replaces it: Codex started it anew.
func (n *narrator) finishSaying(it *item) {
	prefix := ""
	shown, open := n.streamed[it.ID]
	if open {
		prefix = shown.String()
	}
	delete(n.streamed, it.ID)
	rest, ok := strings.CutPrefix(it.Text, prefix)
	if !ok {
		n.screen.endText()
		rest = it.Text
	}
	if !open && rest != "" {
		n.screen.gap()
	}
	n.screen.text(termsafe.Text(rest))
	n.screen.endText()
	if open || rest != "" {
		n.screen.gap()
	}
}

// maxCommand bounds a command's line where no terminal's width does.
const maxCommand = 300

// oneLine is the first line of a command, with a mark when there is more.
func oneLine(s string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
	first = termsafe.Line(first)
	if more && rest != "" {
		first += " …"
	}
	return termsafe.Truncate(first, maxCommand)
}

// lastLine is the last line of output that holds anything.
func lastLine(s string) string {
	s = strings.TrimRight(termsafe.Text(s), "\n\t ")
	return strings.TrimSpace(termsafe.Line(s[strings.LastIndexByte(s, '\n')+1:]))
}
