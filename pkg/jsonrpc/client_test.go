package jsonrpc_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

func TestEncodeRequests(t *testing.T) {
	t.Parallel()
	got, err := jsonrpc.EncodeCall(jsonrpc.IntID(7), "job.events", apiv1.JobEventsParams{JobID: "job_1"})
	if want := `{"jsonrpc":"2.0","id":7,"method":"job.events","params":{"job_id":"job_1"}}`; err != nil || string(got) != want {
		t.Errorf("call = %s, %v\nwant   %s", got, err, want)
	}
	got, err = jsonrpc.EncodeNotification("a\"b", nil)
	if want := `{"jsonrpc":"2.0","method":"a\"b"}`; err != nil || string(got) != want {
		t.Errorf("notification = %s, %v\nwant           %s", got, err, want)
	}
	if _, err := jsonrpc.EncodeCall("1", "a", func() {}); err == nil {
		t.Error("unencodable params were encoded")
	}
}

func TestDecodeMessages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, frame string
		want        []jsonrpc.Message
	}{
		{"result", `{"jsonrpc":"2.0","id":1,"result":{"a":1},"extra":true}`, []jsonrpc.Message{{Response: &jsonrpc.Response{ID: "1", Result: []byte(`{"a":1}`)}}}},
		{"null result", `{"jsonrpc":"2.0","id":"x","result":null}`, []jsonrpc.Message{{Response: &jsonrpc.Response{ID: `"x"`, Result: []byte(`null`)}}}},
		{"error without id", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, []jsonrpc.Message{{Response: &jsonrpc.Response{ID: "null", Error: &jsonrpc.Error{Code: -32700, Message: "m"}}}}},
		{"notification", `{"jsonrpc":"2.0","method":"job.event","params":{"seq":1}}`, []jsonrpc.Message{{Notification: &jsonrpc.Request{Method: "job.event", Params: []byte(`{"seq":1}`)}}}},
		{"batch", `[{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","id":2,"result":2}]`, []jsonrpc.Message{
			{Response: &jsonrpc.Response{ID: "1", Result: []byte(`1`)}}, {Response: &jsonrpc.Response{ID: "2", Result: []byte(`2`)}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := jsonrpc.DecodeMessages([]byte(tt.frame))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
	for name, frame := range map[string]string{
		"no JSON": `{`, "number": `1`, "no version": `{"id":1,"result":1}`, "both": `{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}`,
		"neither": `{"jsonrpc":"2.0","id":1}`, "nothing": `{"jsonrpc":"2.0"}`, "trailing": `{"jsonrpc":"2.0","id":1,"result":1} x`,
	} {
		if got, err := jsonrpc.DecodeMessages([]byte(frame)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

// FuzzDecodeMessages: a message is an answer or a notification, never both or neither.
func FuzzDecodeMessages(f *testing.F) {
	f.Add([]byte(`[{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","method":"m"}]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m","data":{"code":"parse_error"}}}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		msgs, err := jsonrpc.DecodeMessages(frame)
		if err != nil {
			return
		}
		for _, m := range msgs {
			if (m.Response == nil) == (m.Notification == nil) {
				t.Fatalf("both or neither: %+v", m)
			}
			if m.Response != nil && m.Response.Error != nil {
				_ = m.Response.Error.Err()
			}
		}
	})
}
