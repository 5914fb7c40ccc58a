package jsonrpc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

func TestRender(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		code int
		data string
	}{
		{"registered", errs.New(errs.NotFound, "No such job."), -32004, `{"code":"not_found","request_id":"r","retryable":false}`},
		{"wrapped", fmt.Errorf("get: %w", errs.New(errs.Conflict, "")), -32005, `{"code":"conflict","request_id":"r","retryable":false}`},
		{"with field", errs.Param("/a/b", "x"), -32602, `{"code":"invalid_params","field":"/a/b","request_id":"r","retryable":false}`},
		{"with data", errs.New(errs.RateLimited, "").With("retry_after_ms", 5), -32006, `{"code":"rate_limited","request_id":"r","retry_after_ms":5,"retryable":true}`},
		{"data cannot forge the code", errs.New(errs.NotFound, "").With("code", "x").With("request_id", "y"), -32004, `{"code":"not_found","request_id":"r","retryable":false}`},
		{"data that JSON lacks", errs.New(errs.NotFound, "").With("f", func() {}), -32004, `{"code":"not_found","request_id":"r","retryable":false}`},
		{"foreign", errors.New("dial tcp 10.0.0.1: secret"), -32603, `{"code":"internal","request_id":"r","retryable":true}`},
		{"job code", errs.New(errs.WorkerLost, "secret"), -32603, `{"code":"internal","request_id":"r","retryable":true}`},
		{"unknown code", errs.New("secret", "secret"), -32603, `{"code":"internal","request_id":"r","retryable":true}`},
		{"cause stays inside", errs.Wrap(errs.Overloaded, "", errors.New("secret")), -32001, `{"code":"overloaded","request_id":"r","retryable":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := jsonrpc.Render(tt.err, "r")
			if got.Code != tt.code || string(got.Data) != tt.data {
				t.Errorf("got %d %s\nwant %d %s", got.Code, got.Data, tt.code, tt.data)
			}
			if got.Message == "" || strings.Contains(got.Message, "secret") {
				t.Errorf("message %q is empty or leaks", got.Message)
			}
		})
	}
}

func TestErrorSurvivesTheWire(t *testing.T) {
	t.Parallel()
	sent := errs.Param("/repo/url", "Use https.").With("hint", "x")
	resp := jsonrpc.Response{ID: jsonrpc.IntID(1), Error: jsonrpc.Render(sent, "r")}
	msgs, err := jsonrpc.DecodeMessages(resp.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var e *errs.Error
	if err := msgs[0].Response.Into(nil); !errors.As(err, &e) {
		t.Fatalf("error = %v", err)
	}
	want := &errs.Error{
		Code: errs.InvalidParams, Public: "Use https.", Field: "/repo/url",
		Data: map[string]any{"code": "invalid_params", "field": "/repo/url", "hint": "x", "request_id": "r", "retryable": false},
	}
	if diff := cmp.Diff(want, e, cmpopts.IgnoreUnexported(errs.Error{})); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestErrFallsBackToTheNumber(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  jsonrpc.Error
		want errs.Code
	}{
		{jsonrpc.Error{Code: -32004}, errs.NotFound},
		{jsonrpc.Error{Code: -32004, Data: []byte(`"text"`)}, errs.NotFound},
		{jsonrpc.Error{Code: -32004, Data: []byte(`{"code":"from_the_future"}`)}, errs.NotFound},
		{jsonrpc.Error{Code: 0, Data: []byte(`{"code":"conflict"}`)}, errs.Conflict},
		{jsonrpc.Error{Code: 0}, errs.Internal},
		{jsonrpc.Error{Code: 42}, errs.Internal},
	}
	for _, tt := range tests {
		if got := tt.err.Err().Code; got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
