package events_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
)

func TestEventsSurviveTheWire(t *testing.T) {
	t.Parallel()
	for name, payload := range goldenPayloads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, err := events.New(goldenHead(), payload)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			var got events.Event
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			head := goldenHead()
			want := map[string]any{events.ExtPartitionKey: head.Subject, events.ExtTraceParent: head.TraceParent, events.ExtLane: head.Lane}
			if diff := cmp.Diff(want, got.Extensions()); diff != "" {
				t.Errorf("extensions (-want +got):\n%s", diff)
			}
			if got.ID() != head.ID || got.Source() != head.Source || got.Subject() != head.Subject || got.Type() != name || !got.Time().Equal(head.Time) {
				t.Errorf("head = %s", got.Context)
			}
			decoded, err := events.Decode(&got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(payload, decoded); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewLeavesOutWhatIsEmpty(t *testing.T) {
	t.Parallel()
	ev, err := events.New(events.Head{ID: "evt_1", Source: "/codexgw/test"}, events.KeyRevoked{KeyID: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if ev.Subject() != "" || len(ev.Extensions()) != 0 {
		t.Errorf("subject %q, extensions %v", ev.Subject(), ev.Extensions())
	}
}

func TestNewRefusesForeignPayloads(t *testing.T) {
	t.Parallel()
	var typed *int
	for _, payload := range []any{nil, typed, 1, struct{}{}, events.JobEnded{}, []events.JobSubmitted{}} {
		if _, err := events.New(goldenHead(), payload); !errors.Is(err, events.ErrUnknownType) {
			t.Errorf("%T: %v, want ErrUnknownType", payload, err)
		}
	}
}

// received is an event of a type with the given data.
func received(eventType, data string) *events.Event {
	ev, _ := events.New(goldenHead(), events.JobSubmitted{})
	ev.SetType(eventType)
	ev.DataEncoded = []byte(data)
	return &ev
}

func TestDecodeIgnoresUnknownFields(t *testing.T) {
	t.Parallel()
	got, err := events.Decode(received(events.TypeKeyRevokedV1, `{"key_id":"k","tenant":"t","from_the_future":{"a":[1]}}`))
	if diff := cmp.Diff(&events.KeyRevoked{KeyID: "k", Tenant: "t"}, got); err != nil || diff != "" {
		t.Errorf("%v, payload (-want +got):\n%s", err, diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	if _, err := events.Decode(received("dev.codexgateway.job.submitted.v2", `{}`)); !errors.Is(err, events.ErrUnknownType) {
		t.Errorf("unknown type: %v", err)
	}
	for _, data := range []string{"", "null", " null\n", "{", "[]", `"a"`, `{"job_id":1}`, `{} {}`} {
		if got, err := events.Decode(received(events.TypeJobSubmittedV1, data)); !errors.Is(err, events.ErrMalformed) {
			t.Errorf("data %q: %v, %v; want ErrMalformed", data, got, err)
		}
	}
}

// FuzzDecode: data of any type and content decodes to its payload or is poison
// with a reason; what decodes can be published again and stays the same.
func FuzzDecode(f *testing.F) {
	for name, payload := range goldenPayloads() {
		data, err := json.Marshal(payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Add("unknown", []byte(`{}`))
	f.Add(events.TypeJobProgressedV1, []byte(`{"events":[null,1,"a"]}`))
	f.Fuzz(func(t *testing.T, eventType string, data []byte) {
		payload, err := events.Decode(received(eventType, string(data)))
		if err != nil {
			if !errors.Is(err, events.ErrUnknownType) && !errors.Is(err, events.ErrMalformed) {
				t.Fatalf("error of neither kind: %v", err)
			}
			return
		}
		again, err := events.New(goldenHead(), payload)
		if err != nil {
			t.Fatalf("%+v cannot be published: %v", payload, err)
		}
		second, err := events.Decode(&again)
		if err != nil {
			t.Fatal(err)
		}
		first, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := json.Marshal(second); err != nil || string(data) != string(first) {
			t.Fatalf("%s became %s (%v)", first, data, err)
		}
	})
}

// FuzzStructuredMode: any bytes as a CloudEvent in JSON are refused or safe to decode.
func FuzzStructuredMode(f *testing.F) {
	for _, payload := range goldenPayloads() {
		ev, err := events.New(goldenHead(), payload)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := json.Marshal(ev)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"specversion":"1.0","id":"a","source":"b","type":"dev.codexgateway.key.revoked.v1","data_base64":"e30="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var ev events.Event
		if json.Unmarshal(raw, &ev) != nil || ev.Validate() != nil {
			return
		}
		payload, err := events.Decode(&ev)
		if (payload == nil) == (err == nil) {
			t.Fatalf("payload %v, error %v", payload, err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	head, payload := goldenHead(), events.JobSubmitted{JobID: "job_1", ConversationID: "conv_1", Tenant: "acme", Lane: "short"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.New(head, &payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	ev, err := events.New(goldenHead(), goldenPayloads()[events.TypeJobProgressedV1])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode(&ev); err != nil {
			b.Fatal(err)
		}
	}
}
