package jsonrpc_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

func TestParamsDecodes(t *testing.T) {
	t.Parallel()
	schema := json.RawMessage(`{"type":"object","properties":{"a":{}}}`)
	full := apiv1.PromptParams{
		Prompt: "fix <it> & \"that\"", SessionID: "s", Images: []string{"file_1"},
		OutputSchema: schema, Repo: &apiv1.Repo{URL: "https://example.com/r.git", Ref: "main"},
		Network: true, TimeoutS: 60, Metadata: map[string]string{"k": "v"}, Wait: 5,
	}
	encoded, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		raw  string
		want apiv1.PromptParams
	}{
		{"every kind of field", string(encoded), full},
		{"absent", "", apiv1.PromptParams{}},
		{"null", "null", apiv1.PromptParams{}},
		{"empty object", "{}", apiv1.PromptParams{}},
		{"null for a field is its zero", `{"prompt":"a","repo":null,"images":null,"wait":null}`, apiv1.PromptParams{Prompt: "a"}},
		{"by position", `["a","s",null,"m"]`, apiv1.PromptParams{Prompt: "a", SessionID: "s", Model: "m"}},
		{"none by position", `[]`, apiv1.PromptParams{}},
		{"raw values stay raw", `{"prompt":"a","output_schema":` + string(schema) + `}`, apiv1.PromptParams{Prompt: "a", OutputSchema: schema}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := jsonrpc.Params[apiv1.PromptParams](json.RawMessage(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("params (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParamsNamesTheField(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw, field string
	}{
		{"too many by position", `["a",1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]`, "/17"},
		{"wrong by position", `["a","s","c","m","e",7]`, "/images"},
		{"given twice by position", `["a",null,null,null,null,null,null,{"url":"a","url":"b"}]`, "/repo/url"},
		{"broken by position", `["a"`, ""},
		{"string", `"a"`, ""},
		{"broken", `{"prompt"`, "/prompt"},
		{"unknown", `{"prompt":"a","promt":"b"}`, "/promt"},
		{"other case", `{"Prompt":"a"}`, "/Prompt"},
		{"unknown, cut inside a character", `{"` + strings.Repeat("é", 200) + `":1}`, "/" + strings.Repeat("é", 99)},
		{"too deep", `{"prompt":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, ""},
		{"unknown inside", `{"repo":{"url":"x","branch":"y"}}`, "/repo/branch"},
		{"string for a number", `{"timeout_s":"60"}`, "/timeout_s"},
		{"fraction for an integer", `{"timeout_s":1.5}`, "/timeout_s"},
		{"integer out of range", `{"timeout_s":99999999999999999999}`, "/timeout_s"},
		{"number for a string", `{"prompt":1}`, "/prompt"},
		{"string for a bool", `{"network":"yes"}`, "/network"},
		{"object for an array", `{"images":{}}`, "/images"},
		{"number in an array", `{"images":["a",2]}`, "/images/1"},
		{"array for an object", `{"repo":[]}`, "/repo"},
		{"number in a map", `{"metadata":{"a":1}}`, "/metadata/a"},
		{"slash and tilde in the name", `{"a/b~c":1}`, "/a~1b~0c"},
		{"given twice", `{"prompt":"a","prompt":"b"}`, "/prompt"},
		{"given twice inside", `{"repo":{"url":"a","url":"b"}}`, "/repo/url"},
		{"given twice in a raw value", `{"output_schema":{"a":1,"a":2}}`, "/output_schema/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := jsonrpc.Params[apiv1.PromptParams](json.RawMessage(tt.raw))
			var e *errs.Error
			if !errors.As(err, &e) || e.Code != errs.InvalidParams || e.Field != tt.field {
				t.Errorf("error = %#v, want invalid_params at %q", err, tt.field)
			}
			if diff := cmp.Diff(apiv1.PromptParams{}, got); diff != "" {
				t.Errorf("half-decoded params came back:\n%s", diff)
			}
		})
	}
}

func TestParamsErrorIsBounded(t *testing.T) {
	t.Parallel()
	_, err := jsonrpc.Params[apiv1.PromptParams](json.RawMessage(`{"` + strings.Repeat("x", 1<<20) + `":1}`))
	if got := len(jsonrpc.Render(err, "req_test").Data); got > 1024 {
		t.Errorf("error data has %d bytes of the client's own name", got)
	}
}

// FuzzParams: what is accepted means the same to encoding/json, whose tags the
// API's types carry; what is refused is invalid_params.
func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"prompt":"a","repo":{"url":"b"},"metadata":{"c":"d"},"images":["e"],"output_schema":{"f":[1]},"wait":3}`))
	f.Add([]byte(`{"prompt":null}`))
	f.Add([]byte(`[1]`))
	f.Add([]byte(``))
	f.Add([]byte(`n `))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := jsonrpc.Params[apiv1.PromptParams](raw)
		if err != nil {
			if errs.CodeOf(err) != errs.InvalidParams {
				t.Fatalf("code %s: %v", errs.CodeOf(err), err)
			}
			return
		}
		if text := strings.Trim(string(raw), " \t\r\n"); text == "" || text[0] == '[' {
			return // which encoding/json does not take
		}
		var want apiv1.PromptParams
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("encoding/json refuses what Params accepts: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("Params and encoding/json differ:\n%s", diff)
		}
	})
}
