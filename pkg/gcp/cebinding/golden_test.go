package cebinding_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/gcp/cebinding"
)

var update = flag.Bool("update", false, "write golden files")

const goldenEvents = "../../../events/testdata/golden"

// wire is a message as the golden files show it.
type wire struct {
	Attributes map[string]string `json:"attributes"`
	Data       string            `json:"data"`
}

// TestGoldenEventsOnTheWire keeps the attributes and bytes of every event type
// as they were first published: consumers outside may read them.
func TestGoldenEventsOnTheWire(t *testing.T) {
	t.Parallel()
	for _, spec := range events.Registry {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join(goldenEvents, spec.Type+".json"))
			if err != nil {
				t.Fatal(err)
			}
			ev, err := cebinding.Decode(cebinding.Message{
				Data: raw, Attributes: map[string]string{"content-type": "application/cloudevents+json; charset=utf-8"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := events.Decode(&ev); err != nil {
				t.Errorf("payload: %v", err)
			}
			m, err := cebinding.Encode(&ev)
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, filepath.Join("testdata", spec.Type+".json"), m)
			again, err := cebinding.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(&ev), describe(&again)); diff != "" {
				t.Errorf("after a round trip (-want +got):\n%s", diff)
			}
		})
	}
}

func compareGolden(t *testing.T, file string, m cebinding.Message) {
	t.Helper()
	got, err := json.MarshalIndent(wire{m.Attributes, string(m.Data)}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the event is written differently (-golden +written):\n%s", diff)
	}
}

// describe is everything an event carries, extensions as canonical strings.
func describe(ev *events.Event) map[string]any {
	out := map[string]any{
		"specversion": ev.SpecVersion(), "id": ev.ID(), "source": ev.Source(), "type": ev.Type(), "time": ev.Time().UTC(),
		"subject": ev.Subject(), "dataschema": ev.DataSchema(), "datacontenttype": ev.DataContentType(), "data": string(ev.Data()),
	}
	for name, value := range ev.Extensions() {
		out["ext "+name] = value
	}
	return out
}

// The examples of the binding's specification, both modes.
func TestExamplesOfTheSpecification(t *testing.T) {
	t.Parallel()
	structured := `{"specversion":"1.0","type":"com.example.someevent","time":"2018-04-05T03:56:24Z","id":"1234-1234-1234",` +
		`"source":"/mycontext/subcontext","datacontenttype":"application/json; charset=utf-8","data":{"key":"value"}}`
	for name, m := range map[string]cebinding.Message{
		"binary": {Data: []byte(`{"key":"value"}`), Attributes: map[string]string{
			"ce-specversion": "1.0", "ce-type": "com.example.someevent", "ce-time": "2018-04-05T03:56:24Z", "ce-id": "1234-1234-1234",
			"ce-source": "/mycontext/subcontext", "content-type": "application/json; charset=utf-8",
		}},
		"binary, content type as the examples write it": {Data: []byte(`{"key":"value"}`), Attributes: map[string]string{
			"ce-specversion": "1.0", "ce-type": "com.example.someevent", "ce-time": "2018-04-05T03:56:24Z", "ce-id": "1234-1234-1234",
			"ce-source": "/mycontext/subcontext", "ce-datacontenttype": "application/json; charset=utf-8",
		}},
		"binary, keys in another case": {Data: []byte(`{"key":"value"}`), Attributes: map[string]string{
			"CE-SpecVersion": "1.0", "Ce-Type": "com.example.someevent", "ce-Time": "2018-04-05T03:56:24Z", "ce-ID": "1234-1234-1234",
			"ce-source": "/mycontext/subcontext", "Content-Type": "application/json; charset=utf-8", "googclient_x": "ignored",
		}},
		"structured": {Data: []byte(structured), Attributes: map[string]string{
			"content-type": "application/cloudevents+json; charset=UTF-8", "ce-specversion": "1.0", "ce-id": "the document counts",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev, err := cebinding.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			got, want := describe(&ev), `{"key":"value"}`
			if got["data"] != want || got["type"] != "com.example.someevent" || got["id"] != "1234-1234-1234" ||
				got["source"] != "/mycontext/subcontext" || ev.Time().Format("2006-01-02T15:04:05Z") != "2018-04-05T03:56:24Z" ||
				!strings.HasPrefix(ev.DataContentType(), "application/json") {
				t.Errorf("got %v", got)
			}
		})
	}
}
