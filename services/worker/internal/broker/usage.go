package broker

import (
	"bytes"
	"encoding/json"
)

// maxField bounds a line that is not data: the name of an event, a comment.
const maxField = 1 << 10

// maxTokens is more than any one response can have.
const maxTokens = 1 << 40

// tokens is the usage object of a final event.
type tokens struct {
	Input   int64 `json:"input_tokens"`
	Details struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int64 `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int64 `json:"total_tokens"`
}

// sane replaces what cannot be a count, so that a broken model cannot make a
// job's sum shrink.
func (t tokens) sane() tokens {
	for _, n := range []*int64{&t.Input, &t.Details.Cached, &t.Output, &t.OutputDetails.Reasoning, &t.Total} {
		if *n < 0 || *n > maxTokens {
			*n = 0
		}
	}
	return t
}

// meter finds the usage in a stream of server-sent events as it passes by. The
// final event repeats the whole output and may have any length, so a line of
// data is scanned and never kept.
type meter struct {
	found func(tokens)
	// ended: the response's final event has passed, all of it.
	ended bool

	line  []byte // the line so far, unless it is data
	data  bool   // it is data, and goes to scan
	skip  bool   // the rest of it is of no interest
	event string // the "event:" of the block being read, "" if none was given
	scan  scanner
}

// write looks at the next bytes of the stream; they may end anywhere.
func (m *meter) write(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			m.add(p)
			return
		}
		m.add(p[:end])
		switch {
		case m.skip:
		case m.data:
			m.finish()
		default:
			m.read(bytes.TrimSuffix(m.line, []byte("\r")))
		}
		m.line, m.data, m.skip = m.line[:0], false, false
		p = p[end+1:]
	}
}

// dataField starts a line that may hold usage.
const dataField = "data:"

func (m *meter) add(part []byte) {
	switch {
	case m.skip:
		return
	case m.data:
		m.scan.write(part)
		return
	}
	take := min(len(part), maxField-len(m.line))
	m.line = append(m.line, part[:take]...)
	if rest, ok := bytes.CutPrefix(m.line, []byte(dataField)); ok {
		m.scan = scanner{usage: m.scan.usage[:0]}
		m.data, m.skip = true, m.event != "" && !final(m.event)
		if !m.skip {
			m.scan.write(rest)
			m.scan.write(part[take:])
		}
		return
	}
	m.skip = take < len(part)
}

// final reports whether an event ends a response.
func final(event string) bool {
	return event == "response.completed" || event == "response.failed" || event == "response.incomplete"
}

// read takes in a line that is not data.
func (m *meter) read(line []byte) {
	if len(line) == 0 {
		m.event = ""
		return
	}
	if name, ok := bytes.CutPrefix(line, []byte("event:")); ok {
		m.event = string(bytes.TrimSpace(name))
	}
}

// finish looks at what the scan of a line of data has found.
func (m *meter) finish() {
	if !m.scan.whole() || !final(string(m.scan.kind)) {
		return
	}
	m.ended = true
	var t tokens
	if len(m.scan.usage) > 0 && json.Unmarshal(m.scan.usage, &t) == nil {
		m.found(t.sane())
	}
}
