package httpapi

import (
	"encoding/json"
	"net/http"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/services/edge/internal/apidoc"
)

// documents are what describes the gateway, as it is served.
type documents struct{ openrpc, openapi, asyncapi []byte }

// describe makes the documents from the tables. It fails on a route that is
// not described.
func (a *api) describe() (err error) {
	s := &apidoc.Surface{Version: a.Methods.Version, Calls: a.calls, Socket: a.Sockets.Mux(), Problem: problem{}}
	for _, row := range a.table() {
		s.Routes = append(s.Routes, apidoc.Route{
			Pattern: row.pattern, Methods: row.methods, Keyed: row.access == keyed, Ticketed: takesTickets(row.pattern), Scope: row.scope, Body: row.body, Doc: row.doc,
		})
	}
	// The document is of all methods there are, the WebSocket's included.
	if a.docs.openrpc, err = apidoc.OpenRPC(s.Socket, s.Version); err != nil {
		return err
	}
	if a.docs.openapi, err = apidoc.OpenAPI(s); err != nil {
		return err
	}
	a.docs.asyncapi, err = apidoc.AsyncAPI(s)
	return err
}

func (a *api) serveOpenRPC(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, typeJSON, a.docs.openrpc)
}

func (a *api) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, typeJSON, a.docs.openapi)
}

func (a *api) serveAsyncAPI(w http.ResponseWriter, r *http.Request) {
	a.respond(w, r, http.StatusOK, typeJSON, a.docs.asyncapi)
}

// What the routes are for, in the order of the table.

func docHealth() apidoc.Operation {
	return apidoc.Operation{
		ID: "health", Summary: "Tells that the process is alive.",
		Answers: []apidoc.Answer{{Status: http.StatusOK, Text: "It is.", Bodies: []apidoc.Body{{Type: typeJSON, Of: []any{struct {
			Status string `json:"status"`
		}{}}}}}},
	}
}

func docReady() apidoc.Operation {
	lines := []apidoc.Body{apidoc.Anything(typeNDJSON, "One JSON object a line, name and status, for the service and for each dependency.")}
	return apidoc.Operation{
		ID: "ready", Summary: "Tells whether the gateway takes requests, and what it waits for.",
		Answers: []apidoc.Answer{
			{Status: http.StatusOK, Text: "It does.", Bodies: lines},
			{Status: http.StatusServiceUnavailable, Text: "It does not.", Bodies: lines},
		},
	}
}

func docDocument(id, summary string) apidoc.Operation {
	return apidoc.Operation{
		ID: id, Summary: summary,
		Answers: []apidoc.Answer{{Status: http.StatusOK, Text: "The document.", Bodies: []apidoc.Body{{Type: typeJSON, Of: []any{map[string]json.RawMessage{}}}}}},
	}
}

// idempotencyHeader is the header of what submits a job.
func idempotencyHeader(more string) apidoc.Param {
	return apidoc.Param{
		In: "header", Name: "Idempotency-Key", Type: "string",
		Text: "Makes submitting twice submitting once: bare or as a quoted string, at most 255 bytes." + more,
	}
}

func docExec() apidoc.Operation {
	refusal := []apidoc.Body{apidoc.ProblemBody()}
	return apidoc.Operation{
		ID: "exec", Summary: "Submits a prompt and sends what comes of it as codex exec --json prints it.",
		Text:    "The lines end with the turn. A stream that is cut before goes on as the job's events; who leaves does not cancel the job. The key needs the scope jobs:read too.",
		Params:  []apidoc.Param{idempotencyHeader("")},
		Request: &apidoc.Body{Type: typeJSON, Text: "The params of conversation.prompt.", Of: []any{apiv1.PromptParams{}}},
		Answers: []apidoc.Answer{
			{
				Status: http.StatusOK, Text: "The job is stored; its lines follow.", Headers: []string{headerJobID, "Link", "Idempotency-Replayed"},
				Bodies: []apidoc.Body{apidoc.Anything(typeNDJSON, "An object of the dialect of codex exec --json on each line.")},
			},
			{Status: http.StatusBadRequest, Text: "A parameter is wrong.", Bodies: refusal},
			{Status: http.StatusNotFound, Text: "There is no such conversation.", Bodies: refusal},
			{Status: http.StatusUnprocessableEntity, Text: "The idempotency key was used with other parameters.", Bodies: refusal},
		},
	}
}

func docRPC() apidoc.Operation {
	return apidoc.Operation{
		ID: "call", Summary: "Calls methods by JSON-RPC 2.0.", RPC: true,
		Text: "An error of a method is HTTP 200, except for those that are listed with a status of their own, and in a batch always. " +
			"The members of a batch are served at once, eight at a time.",
		Params:  []apidoc.Param{idempotencyHeader(" For a single call that submits a job; in a batch each call has its own idempotency_key.")},
		Request: apidoc.RPCRequest(),
		Answers: []apidoc.Answer{
			{Status: http.StatusOK, Text: "The answer, or a batch of them in the order of the calls.", Headers: []string{"Idempotency-Replayed"}, Bodies: []apidoc.Body{apidoc.RPCAnswer()}},
			{Status: http.StatusNoContent, Text: "There were notifications only.", Headers: []string{"Idempotency-Replayed"}},
		},
	}
}

func docSocket() apidoc.Operation {
	return apidoc.Operation{
		ID: "socket", Summary: "Opens a WebSocket that carries JSON-RPC 2.0 both ways.",
		Text: "What it carries is described by /asyncapi.json. A page of another origin is refused with 403 unless the gateway allows it.",
		Answers: []apidoc.Answer{
			{Status: http.StatusSwitchingProtocols, Text: "The connection is a WebSocket."},
			{Status: http.StatusBadRequest, Text: "The handshake is not valid.", Bodies: []apidoc.Body{apidoc.ProblemBody()}},
			{Status: http.StatusUpgradeRequired, Text: "The request asks for no WebSocket.", Headers: []string{"Upgrade"}, Bodies: []apidoc.Body{apidoc.ProblemBody()}},
		},
	}
}

func docEvents() apidoc.Operation {
	refusal := []apidoc.Body{apidoc.ProblemBody()}
	return apidoc.Operation{
		ID: "events", Summary: "Sends the events of a job.",
		Text: "By Accept: a stream of server-sent events or of lines until the job has ended, or one page of JSON, which waits for something new if told to.",
		Params: []apidoc.Param{
			{In: "path", Name: "id", Type: "string", Text: "The job."},
			{In: "query", Name: "after", Type: "integer", Text: "The seq of the last event the client has; 0: from the start.", Max: maxSeq},
			{In: "query", Name: "wait", Type: "integer", Text: "How many seconds a page may wait for an event.", Max: maxWait},
			{In: "header", Name: "Last-Event-ID", Type: "integer", Text: "As after, and stronger, for text/event-stream.", Max: maxSeq},
		},
		Answers: []apidoc.Answer{
			{Status: http.StatusOK, Text: "The events.", Bodies: []apidoc.Body{
				{Type: typeJSON, Of: []any{apiv1.EventPage{}}},
				apidoc.Anything(typeSSE, "id: and data: of each event; data is the event as JSON."),
				apidoc.Anything(typeNDJSON, "An event as JSON on each line."),
			}},
			{Status: http.StatusNoContent, Text: "The job has ended and all was seen: an EventSource shall not come back."},
			{Status: http.StatusBadRequest, Text: "A parameter is wrong.", Bodies: refusal},
			{Status: http.StatusNotFound, Text: "There is no such job.", Bodies: refusal},
			{Status: http.StatusNotAcceptable, Text: "Accept allows none of the forms.", Bodies: refusal},
		},
	}
}

func docArtifact() apidoc.Operation {
	return apidoc.Operation{
		ID: "artifact", Summary: "Leads to a file that a job left.",
		Params: []apidoc.Param{
			{In: "path", Name: "id", Type: "string", Text: "The job."},
			{In: "path", Name: "name", Type: "string", Text: "The file, as job.artifacts names it."},
		},
		Answers: []apidoc.Answer{
			{Status: http.StatusFound, Text: "The file is there.", Headers: []string{"Location"}},
			{Status: http.StatusNotFound, Text: "There is no such job or file.", Bodies: []apidoc.Body{apidoc.ProblemBody()}},
		},
	}
}

func docTicket() apidoc.Operation {
	refusal := []apidoc.Body{apidoc.ProblemBody()}
	return apidoc.Operation{
		ID: "ticket", Summary: "Makes a ticket: what a page shows instead of a key to open one WebSocket or one event stream, within half a minute.",
		Request: &apidoc.Body{Type: typeJSON, Text: "What the ticket may do; without a body: all that the key may.", Of: []any{apiv1.TicketParams{}}, Optional: true},
		Answers: []apidoc.Answer{
			{Status: http.StatusCreated, Text: "The ticket.", Bodies: []apidoc.Body{{Type: typeJSON, Of: []any{apiv1.Ticket{}}}}},
			{Status: http.StatusBadRequest, Text: "A parameter is wrong.", Bodies: refusal},
		},
	}
}

func docBlob() apidoc.Operation {
	refusal := []apidoc.Body{apidoc.ProblemBody()}
	part := func(name string) apidoc.Param {
		return apidoc.Param{In: "query", Name: name, Type: "string", Text: "A part of the link."}
	}
	whole := []apidoc.Body{apidoc.Anything("*/*", "The file.")}
	return apidoc.Operation{
		ID: "blob", Summary: "Serves a file by a link that the gateway signed.",
		Text:   "Only where the gateway keeps files itself; use links as they are.",
		Params: []apidoc.Param{part("obj"), part("expiry"), part("method"), part("signature")},
		Answers: []apidoc.Answer{
			{Status: http.StatusOK, Text: "The file.", Bodies: whole},
			{Status: http.StatusPartialContent, Text: "The range of the file.", Bodies: whole},
			{Status: http.StatusForbidden, Text: "The link is not valid or has expired.", Bodies: refusal},
			{Status: http.StatusNotModified, Text: "The file is as old as If-Modified-Since says."},
			{Status: http.StatusNotFound, Text: "The file is gone.", Bodies: refusal},
			{Status: http.StatusPreconditionFailed, Text: "The file is younger than If-Unmodified-Since says."},
			{Status: http.StatusRequestedRangeNotSatisfiable, Text: "The file is shorter.", Bodies: []apidoc.Body{apidoc.Anything("text/plain", "A sentence.")}},
		},
	}
}
