package cebinding_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/gcp/cebinding"
)

func minimal() map[string]string {
	return map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
}

func with(key, value string) map[string]string {
	m := minimal()
	m[key] = value
	return m
}

func without(key string) map[string]string {
	m := minimal()
	delete(m, key)
	return m
}

func TestBinaryRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attrs map[string]string
		want  error
	}{
		"no attributes":                  {nil, cebinding.ErrNotCloudEvent},
		"no specversion":                 {without("ce-specversion"), cebinding.ErrNotCloudEvent},
		"an older version":               {with("ce-specversion", "0.3"), cebinding.ErrSpecVersion},
		"an empty version":               {with("ce-specversion", ""), cebinding.ErrSpecVersion},
		"no id":                          {without("ce-id"), cebinding.ErrMalformed},
		"an empty id":                    {with("ce-id", ""), cebinding.ErrMalformed},
		"no source":                      {without("ce-source"), cebinding.ErrMalformed},
		"a source that is no URI":        {with("ce-source", "%zz"), cebinding.ErrMalformed},
		"no type":                        {without("ce-type"), cebinding.ErrMalformed},
		"an empty subject":               {with("ce-subject", ""), cebinding.ErrMalformed},
		"a time without zone":            {with("ce-time", "2018-04-05T03:56:24"), cebinding.ErrMalformed},
		"a time in words":                {with("ce-time", "yesterday"), cebinding.ErrMalformed},
		"a schema that is no URI":        {with("ce-dataschema", "::"), cebinding.ErrMalformed},
		"an extension with a bad name":   {with("ce-a_b", "x"), cebinding.ErrMalformed},
		"an extension without a name":    {with("ce-", "x"), cebinding.ErrMalformed},
		"data as an attribute":           {with("ce-data", "x"), cebinding.ErrMalformed},
		"a content type that is none":    {with("content-type", "/;"), cebinding.ErrMalformed},
		"keys that differ by case":       {with("CE-ID", "2"), cebinding.ErrMalformed},
		"no UTF-8":                       {with("ce-subject", "\xff"), cebinding.ErrMalformed},
		"a batch":                        {with("content-type", "application/cloudevents-batch+json"), cebinding.ErrBatch},
		"a batch in capitals":            {with("Content-Type", "Application/CloudEvents-Batch+JSON; charset=utf-8"), cebinding.ErrBatch},
		"another format":                 {with("content-type", "application/cloudevents+xml"), cebinding.ErrNotCloudEvent},
		"a longer word than cloudevents": {with("content-type", "application/cloudeventsish"), cebinding.ErrNotCloudEvent},
		"another charset":                {with("content-type", "application/cloudevents+json; charset=latin1"), cebinding.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := cebinding.Decode(cebinding.Message{Data: []byte("{}"), Attributes: c.attrs}); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func structured(doc string) cebinding.Message {
	return cebinding.Message{Data: []byte(doc), Attributes: map[string]string{"content-type": "application/cloudevents+json"}}
}

func TestStructuredRefuses(t *testing.T) {
	t.Parallel()
	const head = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"nothing":                  {``, cebinding.ErrMalformed},
		"no object":                {`[]`, cebinding.ErrMalformed},
		"half an object":           {`{` + head, cebinding.ErrMalformed},
		"text after the object":    {`{` + head + `} x`, cebinding.ErrMalformed},
		"an empty object":          {`{}`, cebinding.ErrSpecVersion},
		"an older version":         {`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, cebinding.ErrSpecVersion},
		"a version as a number":    {`{"specversion":1.0,"id":"1","source":"/s","type":"t"}`, cebinding.ErrMalformed},
		"a member twice":           {`{` + head + `,"id":"2"}`, cebinding.ErrMalformed},
		"both kinds of data":       {`{` + head + `,"data":1,"data_base64":"AA=="}`, cebinding.ErrMalformed},
		"bad base64":               {`{` + head + `,"data_base64":"A"}`, cebinding.ErrMalformed},
		"base64 that is no string": {`{` + head + `,"data_base64":7}`, cebinding.ErrMalformed},
		"capitals in a name":       {`{` + head + `,"Lane":"x"}`, cebinding.ErrMalformed},
		"an object as extension":   {`{` + head + `,"x":{}}`, cebinding.ErrMalformed},
		"a fraction as extension":  {`{` + head + `,"x":1.5}`, cebinding.ErrMalformed},
		"a long integer":           {`{` + head + `,"x":2147483648}`, cebinding.ErrMalformed},
		"no id":                    {`{"specversion":"1.0","source":"/s","type":"t"}`, cebinding.ErrMalformed},
		"a null id":                {`{"specversion":"1.0","id":null,"source":"/s","type":"t"}`, cebinding.ErrMalformed},
		"a bad time":               {`{` + head + `,"time":"12:00"}`, cebinding.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := cebinding.Decode(structured(c.doc)); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestStructuredDataAndExtensions(t *testing.T) {
	t.Parallel()
	const head = `{"specversion":"1.0","id":"1","source":"/s","type":"t",`
	for doc, want := range map[string]string{
		head + `"data":{ "a" : 1 }}`:                           `{ "a" : 1 }`,
		head + `"data":"text"}`:                                `"text"`,
		head + `"datacontenttype":"text/plain","data":"te\n"}`: "te\n",
		head + `"datacontenttype":"text/plain","data":[1]}`:    `[1]`,
		head + `"datacontenttype":"a/b+json","data":"x"}`:      `"x"`,
		head + `"data_base64":"AP8="}`:                         "\x00\xff",
		head + `"subject":null}`:                               "",
	} {
		ev, err := cebinding.Decode(structured(doc))
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if got := string(ev.Data()); got != want {
			t.Errorf("%s: data %q, want %q", doc, got, want)
		}
	}
	ev, err := cebinding.Decode(structured(head + `"flag":true,"count":-7,"name":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"flag": "true", "count": "-7", "name": "x"}, ev.Extensions()); diff != "" {
		t.Error(diff)
	}
}

// newEvent is an event with every attribute.
func newEvent(tb testing.TB) events.Event {
	tb.Helper()
	ev, err := events.New(events.Head{
		ID: "evt_1", Source: "/codexgw/test", Subject: "job_1", Lane: "long",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC),
	}, events.JobSubmitted{JobID: "job_1", ConversationID: "conv_1", Tenant: "acme", Lane: "long"})
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}

func TestDataBytesAreExactInBinaryMode(t *testing.T) {
	t.Parallel()
	ev := newEvent(t)
	ev.DataEncoded = []byte("{ \"a\" :  1,\n\t\"b\": \"<&>\u2028é\" }")
	m, err := cebinding.Encode(&ev)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != string(ev.DataEncoded) || m.Attributes["ce-time"] != "2026-01-02T03:04:05.678901234Z" {
		t.Errorf("data %q, time %s", m.Data, m.Attributes["ce-time"])
	}
}

func TestPastTheLimitsItIsStructured(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*events.Event){
		"a value of 1,025 bytes": func(ev *events.Event) { ev.SetSubject(strings.Repeat("x", 1025)) },
		"a key of 257 bytes":     func(ev *events.Event) { ev.SetExtension(strings.Repeat("x", 254), "y") },
		"101 attributes": func(ev *events.Event) {
			for i := range 91 {
				ev.SetExtension(fmt.Sprintf("ext%d", i), "y")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := newEvent(t)
			change(&ev)
			m, err := cebinding.Encode(&ev)
			if err != nil {
				t.Fatal(err)
			}
			if m.Attributes["content-type"] != "application/cloudevents+json; charset=utf-8" {
				t.Errorf("content type %q", m.Attributes["content-type"])
			}
			if m.Attributes["ce-lane"] != "long" {
				t.Error("no ce-lane: filters would not see it")
			}
			if len(m.Attributes) > 100 {
				t.Errorf("%d attributes", len(m.Attributes))
			}
			for k, v := range m.Attributes {
				if len(k) > 256 || len(v) > 1024 {
					t.Errorf("attribute %.20s has %d and %d bytes", k, len(k), len(v))
				}
			}
			got, err := cebinding.Decode(m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(&ev), describe(&got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("at the limits it is binary", func(t *testing.T) {
		t.Parallel()
		ev := newEvent(t)
		ev.SetSubject(strings.Repeat("x", 1024))
		ev.SetExtension(strings.Repeat("x", 253), "y")
		for i := range 89 {
			ev.SetExtension(fmt.Sprintf("ext%d", i), "y")
		}
		m, err := cebinding.Encode(&ev)
		if err != nil {
			t.Fatal(err)
		}
		if m.Attributes["content-type"] != "application/json" || len(m.Attributes) != 100 {
			t.Errorf("content type %q, %d attributes", m.Attributes["content-type"], len(m.Attributes))
		}
	})
}

func TestEncodeRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	for name, ev := range map[string]events.Event{
		"nothing set": event.New(),
		"old version": func() events.Event {
			ev := event.New(event.CloudEventsVersionV03)
			ev.SetID("1")
			ev.SetSource("/s")
			ev.SetType("t")
			return ev
		}(),
		"no UTF-8": func() events.Event { ev := newEvent(t); ev.SetSubject("\xff"); return ev }(),
	} {
		if _, err := cebinding.Encode(&ev); !errors.Is(err, cebinding.ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzBinary(f *testing.F) {
	f.Add("1", "/s", "t", "sub", "2018-04-05T03:56:24.5Z", "application/json", "lane", "short", []byte(`{}`))
	f.Add("", "%", "t", "\xff", "x", "/", "A b", "", []byte(nil))
	f.Add("1", "http://é/", "t", "s", "0000-01-01T00:00:00Z", "text/plain;a=b", "x", "\x00", []byte{0xff})
	f.Fuzz(func(t *testing.T, id, source, kind, subject, at, content, ext, value string, data []byte) {
		stable(t, cebinding.Message{Data: data, Attributes: map[string]string{
			"ce-specversion": "1.0", "ce-id": id, "ce-source": source, "ce-type": kind, "ce-subject": subject, "ce-time": at,
			"content-type": content, "ce-" + ext: value,
		}})
		few := cebinding.Message{Data: data, Attributes: map[string]string{
			"ce-specversion": "1.0", "ce-id": id, "ce-source": source, "ce-type": kind, "ce-" + ext: value,
		}}
		stable(t, few)
	})
}

func FuzzStructured(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":"<"},"x":true}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"x","time":"2018-04-05T03:56:24+02:00"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AP8=","dataschema":"http://x/y"}`))
	f.Fuzz(func(t *testing.T, doc []byte) { stable(t, structured(string(doc))) })
}

// stable: what was read once is written and read again as the same.
func stable(t *testing.T, m cebinding.Message) {
	t.Helper()
	first, err := cebinding.Decode(m)
	if err != nil {
		for _, known := range []error{cebinding.ErrNotCloudEvent, cebinding.ErrBatch, cebinding.ErrSpecVersion, cebinding.ErrMalformed} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("error of no known kind: %v", err)
	}
	encoded, err := cebinding.Encode(&first)
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	second, err := cebinding.Decode(encoded)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	want, got := describe(&first), describe(&second)
	if cebinding.Structured(encoded.Attributes["content-type"]) {
		delete(want, "data") // written anew
		delete(got, "data")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-first +second):\n%s", diff)
	}
}
