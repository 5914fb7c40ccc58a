package mockmodel

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// stepKind is what one step of a response does.
type stepKind int

const (
	stepSay stepKind = iota
	stepDeltas
	stepReasoning
	stepShell
	stepEscalate
	stepPatch
	stepHang
	stepCut
	stepBadJSON
	stepFail
	stepStatus
)

// endless is the repeat count of a fault without TIMES.
const endless = -1

// step is one parsed directive.
type step struct {
	kind  stepKind
	text  string        // message, command, patch or failure code
	n     int           // deltas: how many
	every time.Duration // deltas: pause between two
	wait  time.Duration // calls: how long for the command
	times int           // faults: how often, or endless
	// status faults only:
	code       int
	retryAfter string
	errType    string
	// index is the place of the directive in the script; it names the fault's
	// counter.
	index int
}

// call reports whether the step ends the response by calling a tool.
func (s step) call() bool {
	return s.kind == stepShell || s.kind == stepEscalate || s.kind == stepPatch
}

// response is what one model request is answered with.
type response struct {
	steps     []step
	slowFirst time.Duration
	wait      time.Duration
	usage     usage
}

// usage is the token counts of one response.
type usage struct {
	input, cached, output, reasoning int
}

// newResponse is a response before its directives. A command has the longest time
// that Codex gives one: how far it gets must not depend on the machine.
func newResponse() response { return response{wait: 30 * time.Second, usage: defaultUsage()} }

// defaultUsage is reported for a response without a usage directive.
func defaultUsage() usage { return usage{input: 1000, cached: 200, output: 50, reasoning: 10} }

const (
	endPatch   = "*** End Patch"
	marker     = "mock:"
	helloLimit = 200
)

// parse turns a user message into the responses it scripts; there is always at
// least one. It never fails: a wrong directive becomes a response that says so.
func parse(prompt string) []response {
	p := parser{cur: newResponse()}
	lines := strings.Split(strings.ReplaceAll(prompt, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		for _, d := range directives(lines[i]) {
			verb, rest, _ := strings.Cut(d, " ")
			rest = strings.TrimSpace(rest)
			var body string
			if verb == "patch" {
				body, i = patchBody(lines, i)
			}
			if err := p.add(verb, rest, body); err != nil {
				return []response{{usage: defaultUsage(), steps: []step{{kind: stepSay, text: "mock: " + err.Error()}}}}
			}
		}
	}
	if p.index == 0 {
		p.cur.steps = []step{{kind: stepSay, text: hello(prompt)}}
		return []response{p.cur}
	}
	if !says(p.cur.steps) {
		p.cur.steps = append(p.cur.steps, step{kind: stepSay, text: "Done."})
	}
	return append(p.done, p.cur)
}

// directives returns the directives of one line, without their marker.
func directives(line string) []string {
	var out []string
	start := -1
	for i := 0; i < len(line); i++ {
		if !strings.HasPrefix(line[i:], marker) || i > 0 && line[i-1] != ' ' && line[i-1] != '\t' {
			continue
		}
		if start >= 0 {
			out = append(out, strings.TrimSpace(line[start:i]))
		}
		start = i + len(marker)
		i = start - 1
	}
	if start >= 0 {
		out = append(out, strings.TrimSpace(line[start:]))
	}
	return out
}

// patchBody collects the lines after i up to the end marker and returns them
// with the index of the last line used.
func patchBody(lines []string, i int) (body string, last int) {
	var b strings.Builder
	for j := i + 1; j < len(lines); j++ {
		b.WriteString(lines[j])
		b.WriteByte('\n')
		if strings.TrimSpace(lines[j]) == endPatch {
			return b.String(), j
		}
	}
	return "", i
}

func says(steps []step) bool {
	for _, s := range steps {
		if s.kind == stepSay || s.kind == stepDeltas {
			return true
		}
	}
	return false
}

// hello is the answer to a prompt without directives.
func hello(prompt string) string {
	r := []rune(strings.Join(strings.Fields(prompt), " "))
	if len(r) > helloLimit {
		r = append(r[:helloLimit], '…')
	}
	return "Hello from the mock model. You said: " + string(r)
}

// parser collects directives into responses.
type parser struct {
	done  []response
	cur   response
	index int
}

func (p *parser) add(verb, rest, body string) error {
	s := step{index: p.index, times: endless, wait: p.cur.wait}
	p.index++
	args := strings.Fields(rest)
	var err error
	switch verb {
	case "say":
		s.kind, s.text = stepSay, unescape(rest)
	case "reasoning":
		s.kind, s.text = stepReasoning, unescape(rest)
	case "deltas":
		s.kind = stepDeltas
		if s.n, s.every, err = deltaArgs(args); err != nil {
			return err
		}
	case "shell":
		s.kind, s.text = stepShell, rest
	case "escalate":
		s.kind, s.text = stepEscalate, rest
	case "patch":
		s.kind, s.text = stepPatch, body
		if body == "" {
			return fmt.Errorf("patch needs the patch on the next lines, ending in %q", endPatch)
		}
	case "write":
		path, text, _ := strings.Cut(rest, " ")
		if path == "" {
			return errors.New("write needs a path")
		}
		s.kind, s.text = stepPatch, addFile(path, unescape(text))
	case "slow-first":
		p.cur.slowFirst, err = millis(args)
		return err
	case "wait":
		p.cur.wait, err = millis(args)
		return err
	case "usage":
		p.cur.usage, err = usageArgs(args)
		return err
	case "status":
		s.kind = stepStatus
		if err = statusArgs(&s, args); err != nil {
			return err
		}
	case "fail":
		s.kind = stepFail
		if len(args) == 0 {
			return errors.New("fail needs a code")
		}
		s.text = args[0]
		s.times, err = timesArg(args[1:])
	case "cut":
		s.kind = stepCut
		s.times, err = timesArg(args)
	case "bad-json":
		s.kind = stepBadJSON
		s.times, err = timesArg(args)
	case "hang":
		s.kind = stepHang
	default:
		return fmt.Errorf("unknown directive %q", clip(verb))
	}
	if err != nil {
		return err
	}
	p.cur.steps = append(p.cur.steps, s)
	if s.call() {
		p.done = append(p.done, p.cur)
		p.cur = newResponse()
	}
	return nil
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "")
	}
	return s
}

func unescape(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }

// addFile is the patch that adds, or overwrites, one file.
func addFile(path, text string) string {
	var b strings.Builder
	b.WriteString("*** Begin Patch\n*** Add File: " + path + "\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		b.WriteString("+" + line + "\n")
	}
	b.WriteString(endPatch + "\n")
	return b.String()
}
