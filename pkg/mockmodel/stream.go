package mockmodel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"codexgateway.dev/pkg/wait"
)

// Statuses of items and responses on the wire.
const (
	inProgress = "in_progress"
	completed  = "completed"
	failed     = "failed"
)

// stream writes one response as SSE, each event flushed at once.
type stream struct {
	ctx   context.Context // of the one request that this answers
	w     http.ResponseWriter
	rc    *http.ResponseController
	req   request
	id    string // suffix of every id of this response
	body  responseBody
	usage usage
	seq   int
	buf   bytes.Buffer
}

// send writes one event. A write error means the client left, which also ends
// ctx; the steps look there.
func (s *stream) send(e event) {
	e.SequenceNumber = s.seq
	s.seq++
	s.buf.Reset()
	s.buf.WriteString("event: " + e.Type + "\ndata: ")
	enc := json.NewEncoder(&s.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		panic(fmt.Errorf("mockmodel: encode event: %w", err)) // our own shapes always encode
	}
	s.buf.WriteByte('\n')
	s.flush()
}

func (s *stream) flush() {
	_, _ = s.w.Write(s.buf.Bytes())
	_ = s.rc.Flush()
}

func (s *stream) begin() {
	created, progress := s.body, s.body
	s.send(event{Type: "response.created", Response: &created})
	s.send(event{Type: "response.in_progress", Response: &progress})
}

func (s *stream) complete() {
	s.body.Status = completed
	s.body.Usage = &usageBody{
		InputTokens:        s.usage.input,
		InputTokensDetails: inputTokensDetails{CachedTokens: s.usage.cached},
		OutputTokens:       s.usage.output,
		OutputDetails:      outputDetails{ReasoningTokens: s.usage.reasoning},
		TotalTokens:        s.usage.input + s.usage.output,
	}
	s.send(event{Type: "response.completed", Response: &s.body})
}

func (s *stream) fail(code string) {
	s.body.Status = failed
	s.body.Error = &responseError{Code: code, Message: "The mock model was told to fail with " + code + "."}
	s.send(event{Type: "response.failed", Response: &s.body})
}

// index is the output index of the item being written.
func (s *stream) index() *int { return new(len(s.body.Output)) }

func (s *stream) itemID(prefix string) string {
	return fmt.Sprintf("%s_%s_%d", prefix, s.id, len(s.body.Output))
}

// openMessage starts a message item and its one text part.
func (s *stream) openMessage() (id string) {
	id = s.itemID("msg")
	s.send(event{
		Type: "response.output_item.added", OutputIndex: s.index(),
		Item: messageItem{ID: id, Type: "message", Role: "assistant", Status: inProgress, Content: []textPart{}},
	})
	s.send(event{Type: "response.content_part.added", ItemID: id, OutputIndex: s.index(), ContentIndex: new(0), Part: part("")})
	return id
}

func part(text string) textPart {
	return textPart{Type: "output_text", Text: text, Annotations: []string{}}
}

func (s *stream) textDelta(id, delta string) {
	s.send(event{Type: "response.output_text.delta", ItemID: id, OutputIndex: s.index(), ContentIndex: new(0), Delta: &delta})
}

// message streams a message of the deltas, one each every, from its beginning: one
// that is late does not make the next late, or a busy machine would stream for
// longer than it was told to. It reports whether the client is still there.
func (s *stream) message(deltas func(yield func(string) bool), every time.Duration) bool {
	id := s.openMessage()
	var text strings.Builder
	due := time.Now()
	for d := range deltas {
		if text.Len() > 0 {
			due = due.Add(every)
			if !wait.For(s.ctx, time.Until(due)) {
				return false
			}
		}
		text.WriteString(d)
		s.textDelta(id, d)
	}
	full := text.String()
	s.send(event{Type: "response.output_text.done", ItemID: id, OutputIndex: s.index(), ContentIndex: new(0), Text: &full})
	s.send(event{Type: "response.content_part.done", ItemID: id, OutputIndex: s.index(), ContentIndex: new(0), Part: part(full)})
	s.done(messageItem{ID: id, Type: "message", Role: "assistant", Status: completed, Content: []textPart{part(full)}})
	return s.ctx.Err() == nil
}

// done ends an item and keeps it for response.completed.
func (s *stream) done(item any) {
	s.send(event{Type: "response.output_item.done", OutputIndex: s.index(), Item: item})
	s.body.Output = append(s.body.Output, item)
}

func (s *stream) reasoning(text string) {
	id := s.itemID("rs")
	zero := new(0)
	s.send(event{Type: "response.output_item.added", OutputIndex: s.index(), Item: reasoningItem{ID: id, Type: "reasoning", Summary: []summaryPart{}}})
	s.send(event{Type: "response.reasoning_summary_part.added", ItemID: id, OutputIndex: s.index(), SummaryIndex: zero, Part: summaryPart{Type: "summary_text"}})
	for w := range words(text) {
		s.send(event{Type: "response.reasoning_summary_text.delta", ItemID: id, OutputIndex: s.index(), SummaryIndex: zero, Delta: &w})
	}
	whole := summaryPart{Type: "summary_text", Text: text}
	s.send(event{Type: "response.reasoning_summary_text.done", ItemID: id, OutputIndex: s.index(), SummaryIndex: zero, Text: &text})
	s.send(event{Type: "response.reasoning_summary_part.done", ItemID: id, OutputIndex: s.index(), SummaryIndex: zero, Part: whole})
	s.done(reasoningItem{ID: id, Type: "reasoning", Summary: []summaryPart{whole}})
}

func (s *stream) functionCall(name, args string) {
	it := functionCallItem{ID: s.itemID("fc"), Type: "function_call", Status: inProgress, CallID: s.itemID("call"), Name: name}
	s.send(event{Type: "response.output_item.added", OutputIndex: s.index(), Item: it})
	s.send(event{Type: "response.function_call_arguments.delta", ItemID: it.ID, OutputIndex: s.index(), Delta: &args})
	s.send(event{Type: "response.function_call_arguments.done", ItemID: it.ID, OutputIndex: s.index(), Arguments: &args})
	it.Status, it.Arguments = completed, args
	s.done(it)
}

func (s *stream) customCall(name, input string) {
	it := customCallItem{ID: s.itemID("ctc"), Type: "custom_tool_call", Status: inProgress, CallID: s.itemID("call"), Name: name}
	s.send(event{Type: "response.output_item.added", OutputIndex: s.index(), Item: it})
	s.send(event{Type: "response.custom_tool_call_input.delta", ItemID: it.ID, OutputIndex: s.index(), Delta: &input})
	s.send(event{Type: "response.custom_tool_call_input.done", ItemID: it.ID, OutputIndex: s.index(), Input: &input})
	it.Status, it.Input = completed, input
	s.done(it)
}

// words yields the text in pieces that end after each blank.
func words(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for w := range strings.SplitAfterSeq(text, " ") {
			if w != "" && !yield(w) {
				return
			}
		}
	}
}

// counted yields n numbered words.
func counted(n int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("word%d ", i+1)) {
				return
			}
		}
	}
}
