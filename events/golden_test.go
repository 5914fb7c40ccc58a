package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
)

var update = flag.Bool("update", false, "write schemas, and golden events that do not exist yet")

const goldenDir = "testdata/golden"

// ended is what the events that end a job share.
func ended() events.JobEnded {
	return events.JobEnded{
		JobID: "job_1", ConversationID: "conv_1", Tenant: "acme", Attempt: 2, LastSeq: 41,
		EndedAt: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC),
	}
}

// goldenPayloads has every field of every payload filled.
func goldenPayloads() map[string]any {
	return map[string]any{
		events.TypeJobSubmittedV1: &events.JobSubmitted{JobID: "job_1", ConversationID: "conv_1", Tenant: "acme", Lane: "short"},
		events.TypeJobProgressedV1: &events.JobProgressed{
			JobID: "job_1", Tenant: "acme", FirstSeq: 40, LastSeq: 41, Closed: true,
			Events: []json.RawMessage{
				json.RawMessage(`{"attempt":2,"data":{"method":"turn/completed","params":{}},"job_id":"job_1","seq":40,"time":"2026-01-02T03:04:05.600Z","type":"codex"}`),
				json.RawMessage(`{"attempt":2,"data":{},"job_id":"job_1","seq":41,"time":"2026-01-02T03:04:05.678Z","type":"job.completed"}`),
			},
		},
		events.TypeJobCompletedV1: &events.JobCompleted{JobEnded: ended()},
		events.TypeJobFailedV1: &events.JobFailed{
			JobEnded: ended(),
			Error:    events.JobError{Code: "worker_lost", Message: "The worker was lost and no attempt is left.", Retryable: true},
		},
		events.TypeJobCancelledV1:       &events.JobCancelled{JobEnded: ended()},
		events.TypeJobTimedOutV1:        &events.JobTimedOut{JobEnded: ended()},
		events.TypeJobCancelRequestedV1: &events.JobCancelRequested{JobID: "job_1", Tenant: "acme"},
		events.TypeJobSteerRequestedV1:  &events.JobSteerRequested{JobID: "job_1", Tenant: "acme"},
		events.TypeApprovalRequestedV1:  &events.ApprovalRequested{ApprovalID: "apr_1", JobID: "job_1", Tenant: "acme", Kind: "command"},
		events.TypeApprovalAnsweredV1:   &events.ApprovalAnswered{ApprovalID: "apr_1", JobID: "job_1", Tenant: "acme"},
		events.TypeWebhookReceivedV1:    &events.WebhookReceived{DeliveryID: "d-1", Source: "github", Tenant: "acme"},
		events.TypeKeyRevokedV1:         &events.KeyRevoked{KeyID: "key_1", Tenant: "acme"},
		events.TypeKeyRotatedV1:         &events.KeyRotated{KeyID: "key_1", Tenant: "acme"},
	}
}

func goldenHead() events.Head {
	return events.Head{
		ID: "evt_1", Source: "/codexgw/test", Subject: "job_1", Lane: "short",
		Time:        time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// encode is the event in structured JSON mode, with sorted members: the SDK
// writes extensions in random order.
func encode(t *testing.T, ev events.Event) []byte {
	t.Helper()
	raw, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// TestGoldenEvents keeps what was published readable: the golden file of a type
// is written once and never edited, so a payload may only gain fields that are
// left out when empty.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	payloads := goldenPayloads()
	for _, spec := range events.Registry {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			payload, ok := payloads[spec.Type]
			if !ok {
				t.Fatal("no golden payload")
			}
			ev, err := events.New(goldenHead(), payload)
			if err != nil {
				t.Fatal(err)
			}
			fresh := encode(t, ev)
			file := filepath.Join(goldenDir, spec.Type+".json")
			golden, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) && *update {
				golden = fresh
				err = os.WriteFile(file, fresh, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), string(fresh)); diff != "" {
				t.Errorf("the event is written differently (-golden +now):\n%s", diff)
			}
			var read events.Event
			if err := json.Unmarshal(golden, &read); err != nil {
				t.Fatal(err)
			}
			if err := read.Validate(); err != nil {
				t.Errorf("not a valid CloudEvent: %v", err)
			}
			got, err := events.Decode(&read)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(payload, compact(t, got)); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

// compact undoes the indentation of raw values that a golden file brings.
func compact(t *testing.T, payload any) any {
	t.Helper()
	p, ok := payload.(*events.JobProgressed)
	if !ok {
		return payload
	}
	for i, raw := range p.Events {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			t.Fatal(err)
		}
		p.Events[i] = b.Bytes()
	}
	return p
}

func TestNoStaleFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{goldenDir, schemaDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name, isJSON := bytes.CutSuffix([]byte(e.Name()), []byte(".json"))
			if _, ok := events.Lookup(string(name)); !ok || !isJSON {
				t.Errorf("%s/%s belongs to no event type", dir, e.Name())
			}
		}
		if !*update && len(entries) != len(events.Registry) {
			t.Errorf("%s has %d files for %d types", dir, len(entries), len(events.Registry))
		}
	}
}
