package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const greeting = "Hello there from the fake Codex."

// scenario is the directive of a prompt.
type scenario struct{ name, args string }

// parse finds the first word "fake:NAME" of the prompt and the rest of its line.
func parse(prompt string) scenario {
	for line := range strings.Lines(prompt) {
		at := strings.Index(line, "fake:")
		if at < 0 || at > 0 && line[at-1] != ' ' && line[at-1] != '\t' {
			continue
		}
		name, args, _ := strings.Cut(strings.TrimSpace(line[at+len("fake:"):]), " ")
		return scenario{name, strings.TrimSpace(args)}
	}
	return scenario{name: "hello"}
}

// number is the n-th argument, or what to take when it is missing.
func (sc scenario) number(n, otherwise int) int {
	fields := strings.Fields(sc.args)
	if n >= len(fields) {
		return otherwise
	}
	v, err := strconv.Atoi(fields[n])
	if err != nil || v < 0 {
		return otherwise
	}
	return v
}

// size is the first argument as a number of bytes: 10, 200KB, 50MB.
func (sc scenario) size() int {
	text, unit := sc.args, 1
	for suffix, n := range map[string]int{"KB": 1 << 10, "MB": 1 << 20} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, n
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return n * unit
}

// run plays the inside of a turn; turnError is that of a failed one.
func (p *player) run(ctx context.Context, sc scenario) (end outcome, turnError any) {
	switch sc.name {
	case "say":
		return p.say(ctx, sc.args, 0), nil
	case "many-deltas":
		return p.say(ctx, strings.Repeat("x ", max(sc.number(0, 1)-1, 0))+"x", 0), nil
	case "slow":
		return p.say(ctx, strings.Repeat("x ", max(sc.number(0, 10)-1, 0))+"x", time.Duration(sc.number(1, 100))*time.Millisecond), nil
	case "write":
		return p.write(ctx, sc), nil
	case "approval":
		return p.approval(ctx, sc), nil
	case "retry":
		return p.retry(ctx), nil
	case "fail":
		return failed, failure(sc)
	case "unknown":
		p.notify("future/notification", object{"turnId": p.u.id, "news": true})
		p.s.ask(ctx, "future/request", object{"threadId": p.t.id})
	case "garbage":
		p.s.out.add(bytes.Repeat([]byte("this is no message {\n"), sc.number(0, 1)))
	case "huge-line":
		p.command("huge", strings.Repeat("y", sc.size()))
	case "stderr":
		fmt.Fprint(p.s.p.stderr, strings.Repeat("e", sc.size()), "\n")
	case "silence", "interrupt-ignored", "ignore-sigterm":
		<-ctx.Done()
		return interrupted, nil
	case "exit-without-turn":
		p.s.exit(0)
		return vanished, nil
	case "crash-mid-turn":
		return p.crash(), nil
	case "crash-in-command":
		p.item("item/started", commandItem(p.t.cwd, "sleep 600", "inProgress"))
		p.s.exit(101)
		return vanished, nil
	case "crash-once":
		if !p.t.resumed {
			return p.crash(), nil
		}
	}
	return p.say(ctx, greeting, 0), nil
}

func (p *player) crash() outcome {
	id := p.openMessage()
	p.delta(id, "This will not ")
	p.s.exit(101)
	return vanished
}

// command emits a command that ran and printed output.
func (p *player) command(cmd, output string) {
	item := commandItem(p.t.cwd, cmd, "inProgress")
	p.item("item/started", item)
	item["status"], item["exitCode"], item["aggregatedOutput"], item["durationMs"] = "completed", 0, output, 1
	p.item("item/completed", item)
}

func commandItem(cwd, cmd, status string) object {
	return object{
		"type": "commandExecution", "id": "call_" + newID(), "command": "/bin/bash -lc '" + cmd + "'", "cwd": cwd,
		"processId": "1", "source": "unifiedExecStartup", "status": status, "commandActions": []any{object{"type": "unknown", "command": cmd}},
		"aggregatedOutput": nil, "exitCode": nil, "durationMs": nil,
	}
}

// approval asks before a command, then tells what the answer did. An interrupt
// while waiting leaves the item open, as Codex does.
func (p *player) approval(ctx context.Context, sc scenario) outcome {
	item := commandItem(p.t.cwd, sc.args, "inProgress")
	p.item("item/started", item)
	p.notify("thread/status/changed", object{"status": object{"type": "active", "activeFlags": []string{"waitingOnApproval"}}})
	id, result := p.s.ask(ctx, "item/commandExecution/requestApproval", object{
		"kind": "command", "threadId": p.t.id, "turnId": p.u.id, "itemId": item["id"], "startedAtMs": time.Now().UnixMilli(), "environmentId": "local",
		"reason": "May I?", "command": item["command"], "cwd": p.t.cwd, "commandActions": item["commandActions"], "availableDecisions": []string{"accept", "cancel"},
	})
	if ctx.Err() != nil {
		return interrupted
	}
	var answer struct {
		Decision string `json:"decision"`
	}
	if json.Unmarshal(result, &answer) != nil {
		answer.Decision = "decline"
	}
	p.notify("serverRequest/resolved", object{"requestId": id})
	p.status("active")
	if answer.Decision != "accept" && answer.Decision != "acceptForSession" {
		item["status"] = "declined"
		p.item("item/completed", item)
		if answer.Decision == "cancel" {
			return interrupted
		}
		return p.say(ctx, "I was not allowed to.", 0)
	}
	item["status"], item["exitCode"], item["aggregatedOutput"] = "completed", 0, "done\n"
	p.item("item/completed", item)
	return p.say(ctx, "It is done.", 0)
}

// retry abandons a message, as when the model's stream breaks.
func (p *player) retry(ctx context.Context) outcome {
	p.delta(p.openMessage(), "Half a mess")
	p.notify("error", object{"turnId": p.u.id, "willRetry": true, "error": object{
		"message":           "Reconnecting... 1/1",
		"codexErrorInfo":    object{"responseStreamDisconnected": object{"httpStatusCode": nil}},
		"additionalDetails": "stream disconnected before completion",
	}})
	return p.say(ctx, greeting, 0)
}

func failure(sc scenario) object {
	word, _, _ := strings.Cut(sc.args, " ")
	if word == "" {
		word = "other"
	}
	var info any = word
	if status := sc.number(1, 0); status > 0 {
		info = object{word: object{"httpStatusCode": status}}
	}
	return object{"message": "the fake model failed", "codexErrorInfo": info, "additionalDetails": nil}
}

// write really writes the file and tells it as a patch; the diff comes twice.
func (p *player) write(ctx context.Context, sc scenario) outcome {
	name, text, _ := strings.Cut(sc.args, " ")
	path := filepath.Join(p.t.cwd, name)
	item := object{
		"type": "fileChange", "id": "call_" + newID(), "status": "inProgress",
		"changes": []any{object{"path": path, "kind": object{"type": "add"}, "diff": text + "\n"}},
	}
	p.item("item/started", item)
	if err := writeFile(path, text+"\n"); err != nil {
		item["status"] = "failed"
		p.item("item/completed", item)
		return p.say(ctx, "The file could not be written.", 0)
	}
	item["status"] = "completed"
	p.item("item/completed", item)
	diff := fmt.Sprintf("diff --git a/%[1]s b/%[1]s\nnew file mode 100644\n--- /dev/null\n+++ b/%[1]s\n@@ -0,0 +1 @@\n+%[2]s\n", name, text)
	for range 2 {
		p.notify("turn/diff/updated", object{"turnId": p.u.id, "diff": diff})
	}
	return p.say(ctx, "File written.", 0)
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
