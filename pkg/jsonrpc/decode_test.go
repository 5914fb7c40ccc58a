package jsonrpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

func TestDecodeRefusesFrames(t *testing.T) {
	t.Parallel()
	call := `{"jsonrpc":"2.0","method":"a","id":1}`
	tests := []struct {
		name  string
		frame string
		want  errs.Code
	}{
		{"nothing", "", errs.ParseError},
		{"white space", " \n", errs.ParseError},
		{"two values", call + call, errs.ParseError},
		{"trailing garbage", call + "x", errs.ParseError},
		{"byte order mark", "\ufeff" + call, errs.ParseError},
		{"invalid UTF-8", "{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":1}", errs.ParseError},
		{"lone surrogate", `{"jsonrpc":"2.0","method":"\ud800","id":1}`, errs.ParseError},
		{"trailing comma", `[` + call + `,]`, errs.ParseError},
		{"single quotes", `{'jsonrpc':'2.0'}`, errs.ParseError},
		{"cut off", `{"jsonrpc":"2.0"`, errs.ParseError},
		{"endless nesting", strings.Repeat("[", 1<<20), errs.ParseError},
		{"number", "1", errs.InvalidRequest},
		{"string", `"a"`, errs.InvalidRequest},
		{"null", "null", errs.InvalidRequest},
		{"empty batch", "[]", errs.InvalidRequest},
		{"51 requests", "[" + strings.Repeat(call+",", 50) + call + "]", errs.InvalidRequest},
		{"too deep", `{"jsonrpc":"2.0","method":"a","params":` + strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64) + `}`, errs.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := jsonrpc.Decode([]byte(tt.frame), jsonrpc.Limits{})
			if err == nil || err.Code != tt.want {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestDecodeRefusesMembers(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no object":                 `1`,
		"nested batch":              `[{"jsonrpc":"2.0","method":"a","id":1}]`,
		"no version":                `{"method":"a","id":1}`,
		"other version":             `{"jsonrpc":"1.0","method":"a","id":1}`,
		"version as number":         `{"jsonrpc":2.0,"method":"a","id":1}`,
		"no method":                 `{"jsonrpc":"2.0","id":1}`,
		"empty method":              `{"jsonrpc":"2.0","method":"","id":1}`,
		"method of another case":    `{"jsonrpc":"2.0","Method":"a","id":1}`,
		"method as object":          `{"jsonrpc":"2.0","method":{},"id":1}`,
		"id as array":               `{"jsonrpc":"2.0","method":"a","id":[]}`,
		"params as string":          `{"jsonrpc":"2.0","method":"a","params":"x","id":1}`,
		"params as number":          `{"jsonrpc":"2.0","method":"a","params":1}`,
		"method twice":              `{"jsonrpc":"2.0","method":"a","method":"b","id":1}`,
		"method twice, one escaped": `{"jsonrpc":"2.0","method":"a","\u006dethod":"b","id":1}`,
		"unknown member twice":      `{"jsonrpc":"2.0","method":"a","x":1,"x":1,"id":1}`,
		"many members":              `{"jsonrpc":"2.0","method":"a","a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1}`,
	}
	for name, member := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			frame, err := jsonrpc.Decode([]byte(`[`+member+`,{"jsonrpc":"2.0","method":"good","id":7}]`), jsonrpc.Limits{})
			if err != nil {
				t.Fatalf("one bad member cost the batch: %v", err)
			}
			bad, good := frame.Requests[0], frame.Requests[1]
			if bad.Err == nil || bad.Err.Code != errs.InvalidRequest || bad.ID != "" || bad.Notification() {
				t.Errorf("bad member = %+v, want invalid_request without id", bad)
			}
			if good.Err != nil || good.Method != "good" || good.ID != "7" {
				t.Errorf("its neighbour = %+v", good)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	call := `{"jsonrpc":"2.0","method":"a","id":1}`
	tests := []struct {
		name  string
		frame string
		batch bool
		n     int
	}{
		{"white space around", "\r\n\t " + call + " \n", false, 1},
		{"batch of one", "[" + call + "]", true, 1},
		{"50 requests", "[" + strings.Repeat(call+",", 49) + call + "]", true, 50},
		{"unknown members of the envelope", `{"jsonrpc":"2.0","method":"a","id":1,"meta":{"x":1}}`, false, 1},
		{"escaped member names", `{"\u006asonrpc":"2.0","method":"\u0061","id":1}`, false, 1},
		{"null params", `{"jsonrpc":"2.0","method":"a","params":null,"id":1}`, false, 1},
		{"brackets in strings are not depth", `{"jsonrpc":"2.0","method":"a","id":"` + strings.Repeat(`\"[{`, 100) + `"}`, false, 1},
		{"deepest allowed", `{"jsonrpc":"2.0","method":"a","params":` + strings.Repeat(`[`, 63) + strings.Repeat(`]`, 63) + `}`, false, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			frame, err := jsonrpc.Decode([]byte(tt.frame), jsonrpc.Limits{})
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if frame.Batch != tt.batch || len(frame.Requests) != tt.n {
				t.Fatalf("batch %v of %d, want %v of %d", frame.Batch, len(frame.Requests), tt.batch, tt.n)
			}
			for _, r := range frame.Requests {
				if r.Err != nil || r.Method != "a" {
					t.Errorf("request = %+v", r)
				}
			}
		})
	}
}

// FuzzDecode: whatever comes in, every request of the frame is either valid or
// says why not, and a frame is accepted only if it is JSON.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","method":"a","params":{"b":[1,"\u00e9"]},"id":1.5}`,
		`[{"jsonrpc":"2.0","method":"a"},1,{"jsonrpc":"2.0","method":"a","id":null}]`,
		`[]`, `{`, `{"id":"\ud800"}`, "\xff", `{"a":1,"a":2}`, strings.Repeat("[", 70) + strings.Repeat("]", 70),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := jsonrpc.Decode(data, jsonrpc.Limits{})
		if err != nil {
			if row := errs.Lookup(err.Code); row.Code != errs.ParseError && row.Code != errs.InvalidRequest {
				t.Fatalf("code %s", err.Code)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		if n := len(frame.Requests); n == 0 || n > jsonrpc.DefaultMaxBatch || (!frame.Batch && n != 1) {
			t.Fatalf("%d requests, batch %v", n, frame.Batch)
		}
		for _, r := range frame.Requests {
			if (r.Err == nil) == (r.Method == "") {
				t.Fatalf("neither or both: %+v", r)
			}
			if r.ID != "" && !json.Valid([]byte(r.ID)) || r.Params != nil && !json.Valid(r.Params) {
				t.Fatalf("id or params are no JSON: %+v", r)
			}
		}
		answer := specMux().Serve(t.Context(), data, jsonrpc.Options{RequestID: "req_test"})
		if answer.Body != nil && !json.Valid(answer.Body) {
			t.Fatalf("answer is no JSON: %s", answer.Body)
		}
	})
}
