package httpapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
)

const routeRPC = "/jsonrpc"

// serveRPC is POST /jsonrpc.
func (a *api) serveRPC(w http.ResponseWriter, r *http.Request) {
	if !isJSON(r.Header) {
		if a.counted(w, r) {
			a.refuse(w, r, http.StatusUnsupportedMediaType, errMediaType)
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if a.counted(w, r) {
			a.failBody(w, r, err)
		}
		return
	}
	ctx := r.Context()
	call.From(ctx).Batch = isBatch(body)
	answer := a.calls.Serve(ctx, body, jsonrpc.Options{
		RequestID: requestID(ctx),
		Before:    func(ctx context.Context, method string) error { return a.Gate.Method(ctx, a.calls, method) },
		After: func(ctx context.Context, method string, took time.Duration, err *errs.Error) {
			a.Gate.Leave(ctx)
			call.Log(ctx, a.Logger, method, took, err)
			if err != nil {
				a.Methods.Denied(ctx, method, err)
			}
		},
	})
	a.Gate.Tell(w.Header(), call.From(ctx))
	if answer.Err != nil && errs.Lookup(answer.Err.Code).Envelope {
		errorHeaders(w.Header(), answer.Status(), answer.Err)
	}
	a.respond(w, r, answer.Status(), typeJSON, answer.Body)
}

// isJSON checks the media type of a body.
func isJSON(h http.Header) bool {
	for _, enc := range h.Values("Content-Encoding") {
		if enc != "" && !strings.EqualFold(enc, "identity") {
			return false
		}
	}
	if len(h.Values("Content-Type")) > 1 {
		return false // who reads which cannot be known
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != typeJSON && mediaType != "application/json-rpc" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
