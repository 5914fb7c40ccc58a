package watch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Event is what is kept of an event: enough to tell whether two are the same.
type Event struct {
	Seq int64
	// Hash is of the event's canonical form: one transport may escape or envelop
	// what another does not.
	Hash uint64
	Type string
}

// Terminal reports whether an event of a type ends its job.
func Terminal(eventType string) bool {
	switch eventType {
	case "job.completed", "job.failed", "job.cancelled", "job.timed_out":
		return true
	}
	return false
}

// parse reads an event as a transport brought it.
func parse(raw []byte) (Event, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		return Event{}, fmt.Errorf("watch: an event that is no JSON object: %w", err)
	}
	delete(v, "subscription_id") // the WebSocket's envelope
	canonical, err := json.Marshal(v)
	if err != nil {
		return Event{}, fmt.Errorf("watch: %w", err)
	}
	sum := sha256.Sum256(canonical)
	e := Event{Hash: binary.BigEndian.Uint64(sum[:])}
	number, _ := v["seq"].(json.Number)
	if e.Seq, err = number.Int64(); err != nil {
		return Event{}, fmt.Errorf("watch: an event without seq: %w", err)
	}
	name, _ := v["type"].(string)
	e.Type = shared(name)
	return e, nil
}

// shared is a name that all events of the type have in common: a record of a
// million events must not hold a million copies.
func shared(name string) string {
	for _, known := range []string{
		"codex", "job.queued", "job.started", "job.waiting", "job.resumed", "job.retrying",
		"job.completed", "job.failed", "job.cancelled", "job.timed_out",
	} {
		if name == known {
			return known
		}
	}
	return name
}
