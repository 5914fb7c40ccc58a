package httpapi

import (
	"encoding/json"
	"io"
	"net/http"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/execjson"
	"codexgateway.dev/services/edge/internal/methods"
)

// headerJobID names the job that an answer is about, so that a client whose
// stream breaks can go on with the job's events.
const headerJobID = "X-Job-Id"

// serveExec is POST /exec: it submits a job and streams it as codex exec --json
// prints it, from the first line, until the job has ended. The job does not
// depend on the connection: who leaves does not cancel it.
func (a *api) serveExec(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	info := call.From(ctx)
	if !info.Principal.May(apikey.JobsRead) { // the row asks for the other scope
		a.fail(w, r, errs.New(errs.PermissionDenied, "").With("scope", apikey.JobsRead))
		return
	}
	params, ok := a.execParams(w, r)
	if !ok {
		return
	}
	stream, ok := a.open(w, r) // before the submit: what is refused has no effect
	if !ok {
		return
	}
	defer stream.Close()
	j, err := a.Methods.Submit(ctx, params)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set(headerJobID, j.ID)
	h.Set("Link", "<"+methods.EventsURL(info, j)+`>; rel="monitor"`)
	events, err := a.Hub.Watch(j.ID, 0)
	if err != nil {
		a.fail(w, r, err) // the headers name the job all the same
		return
	}
	defer events.Close()
	if info.Replayed() {
		h.Set("Idempotency-Replayed", "true")
	}
	ctx, stop := stream.Until(ctx)
	defer stop()
	var lines execjson.Translator
	a.stream(ctx, w, &format{
		mediaType: typeNDJSON,
		opening:   lines.Begin(nil, j.ConversationID),
		event:     func(b []byte, _ int64, raw json.RawMessage) []byte { return lines.Event(b, raw) },
		whole:     lines.Done,
	}, events)
}

// execParams reads the body; not ok: it was answered.
func (a *api) execParams(w http.ResponseWriter, r *http.Request) (p apiv1.PromptParams, ok bool) {
	if !isJSON(r.Header) {
		a.refuse(w, r, http.StatusUnsupportedMediaType, errMediaType)
		return p, false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.failBody(w, r, err)
		return p, false
	}
	if p, err = bodyParams[apiv1.PromptParams](body); err != nil {
		a.fail(w, r, err)
		return p, false
	}
	return p, true
}

// bodyParams decodes a body that is params without a call around them: an
// object, because params by position are JSON-RPC's alone.
func bodyParams[T any](body []byte) (T, error) {
	if isBatch(body) {
		var none T
		return none, errs.Param("", "The body must be an object.")
	}
	return jsonrpc.Params[T](body)
}
