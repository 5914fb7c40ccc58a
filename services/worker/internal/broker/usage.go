package broker

import (
	"bytes"
	"encoding/json"
)

// maxLine bounds the one line of a stream that is looked into. The final event
// repeats the whole output, so it may be long; a longer line is not counted.
const maxLine = 4 << 20

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

// meter finds the usage in a stream of server-sent events as it passes by. It
// keeps at most one line, and only of events that can carry usage.
type meter struct {
	found func(tokens)

	line  []byte
	skip  bool   // the rest of this line is of no interest
	event string // the "event:" of the block being read, "" if none was given
}

// write looks at the next bytes of the stream; they may end anywhere.
func (m *meter) write(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		m.add(part)
		if end < 0 {
			return
		}
		if !m.skip {
			m.read(bytes.TrimSuffix(m.line, []byte("\r")))
		}
		m.line, m.skip = m.line[:0], false
		p = p[end+1:]
	}
}

// dataField starts a line that may hold usage.
const dataField = "data:"

func (m *meter) add(part []byte) {
	if m.skip {
		return
	}
	if len(m.line)+len(part) > maxLine {
		m.line, m.skip = nil, true
		return
	}
	m.line = append(m.line, part...)
	if m.event != "" && !final(m.event) && bytes.HasPrefix(m.line, []byte(dataField)) {
		m.line, m.skip = m.line[:0], true
	}
}

// final reports whether an event ends a response.
func final(event string) bool {
	return event == "response.completed" || event == "response.failed" || event == "response.incomplete"
}

func (m *meter) read(line []byte) {
	if len(line) == 0 {
		m.event = ""
		return
	}
	if name, ok := bytes.CutPrefix(line, []byte("event:")); ok {
		m.event = string(bytes.TrimSpace(name))
		return
	}
	data, ok := bytes.CutPrefix(line, []byte(dataField))
	if !ok {
		return
	}
	var e struct {
		Type     string `json:"type"`
		Response struct {
			Usage *tokens `json:"usage"`
		} `json:"response"`
	}
	if json.Unmarshal(data, &e) == nil && final(e.Type) && e.Response.Usage != nil {
		m.found(e.Response.Usage.sane())
	}
	if cap(m.line) > 64<<10 {
		m.line = nil // one long event does not pin its memory for the stream's life
	}
}
