package clienttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

// Key is the API key the gateway takes.
const Key = "cgw_test_0123456789ab_notasecretnotasecretnotasecret00000000"

// Job is one scripted job.
type Job struct {
	apiv1.Job
	// Events is the whole log.
	Events []apiv1.Event
	// Files are the artifacts by name.
	Files map[string][]byte
}

// Gateway is a fake gateway. Its fields may be set before the first request.
type Gateway struct {
	// URL is the base URL.
	URL string
	// Connections script the WebSocket connections in the order they come; one
	// that is not scripted behaves well.
	Connections []Connection
	// PromptErr is the answer of conversation.prompt, if set.
	PromptErr error
	// CorruptFiles makes every artifact's bytes differ from its sha256.
	CorruptFiles bool

	mux    *jsonrpc.Mux
	server *httptest.Server
	open   sync.WaitGroup // WebSocket handlers: a closing server does not wait for hijacked connections

	mu          sync.Mutex
	jobs        map[string]Job
	order       []string
	prompts     []apiv1.PromptParams
	subscribed  []apiv1.SubscribeParams
	cancelled   []apiv1.JobCancelParams
	connections int
}

// New starts a gateway that ends with the test.
func New(t *testing.T) *Gateway {
	t.Helper()
	g := &Gateway{mux: jsonrpc.NewMux(), jobs: make(map[string]Job)}
	g.register()
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"healthy"}`)
	})
	routes.HandleFunc("POST /jsonrpc", g.serveRPC)
	routes.HandleFunc("GET /ws", g.serveSocket)
	routes.HandleFunc("GET /blobs/{job}/{name}", g.serveBlob)
	g.server = httptest.NewServer(routes)
	g.URL = g.server.URL
	t.Cleanup(func() {
		g.server.CloseClientConnections()
		g.server.Close()
		g.open.Wait()
	})
	return g
}

// Add stores a job. Prompts become the jobs added first, in turn.
func (g *Gateway) Add(j Job) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range j.Files {
		j.Artifacts = append(j.Artifacts, name)
	}
	slices.Sort(j.Artifacts)
	if len(j.Events) > 0 {
		j.LastSeq = j.Events[len(j.Events)-1].Seq
	}
	g.jobs[j.JobID] = j
	g.order = append(g.order, j.JobID)
}

// Prompts are the params of every accepted conversation.prompt.
func (g *Gateway) Prompts() []apiv1.PromptParams {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.prompts)
}

// Subscribed are the params of every job.subscribe.
func (g *Gateway) Subscribed() []apiv1.SubscribeParams {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.subscribed)
}

// Cancelled are the params of every job.cancel that was taken.
func (g *Gateway) Cancelled() []apiv1.JobCancelParams {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.cancelled)
}

func (g *Gateway) job(jobID string) (Job, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	j, ok := g.jobs[jobID]
	if !ok {
		return Job{}, errs.New(errs.NotFound, "There is no such job.")
	}
	return j, nil
}

func (g *Gateway) register() {
	jsonrpc.Register(g.mux, apiv1.MethodConversationPrompt, jsonrpc.MethodDoc{}, g.prompt)
	jsonrpc.Register(g.mux, apiv1.MethodJobGet, jsonrpc.MethodDoc{}, func(_ context.Context, p apiv1.JobRef) (apiv1.Job, error) {
		j, err := g.job(p.JobID)
		return j.Job, err
	})
	jsonrpc.Register(g.mux, apiv1.MethodJobList, jsonrpc.MethodDoc{}, g.list)
	jsonrpc.Register(g.mux, apiv1.MethodJobCancel, jsonrpc.MethodDoc{}, g.cancel)
	jsonrpc.Register(g.mux, apiv1.MethodJobEvents, jsonrpc.MethodDoc{}, g.events)
	jsonrpc.Register(g.mux, apiv1.MethodJobArtifacts, jsonrpc.MethodDoc{}, g.artifacts)
	jsonrpc.Register(g.mux, apiv1.MethodSystemPing, jsonrpc.MethodDoc{}, func(context.Context, struct{}) (apiv1.Pong, error) {
		return apiv1.Pong{Status: "ok", Version: "test", Time: "2026-11-22T18:00:00.000Z"}, nil
	})
}

func (g *Gateway) prompt(_ context.Context, p apiv1.PromptParams) (any, error) {
	if p.Prompt == "" {
		return nil, errs.Param("/prompt", "The prompt is empty.")
	}
	if g.PromptErr != nil {
		return nil, g.PromptErr
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.prompts)
	if n >= len(g.order) {
		return nil, errs.New(errs.Overloaded, "No job is left in the script.")
	}
	g.prompts = append(g.prompts, p)
	j := g.jobs[g.order[n]]
	return apiv1.Accepted{
		Type: "job", JobID: j.JobID, ConversationID: j.ConversationID, SessionID: p.SessionID,
		Status: apiv1.StatusQueued, CreatedAt: j.CreatedAt, EventsURL: g.URL + "/v1/jobs/" + j.JobID + "/events",
	}, nil
}

func (g *Gateway) list(_ context.Context, p apiv1.JobListParams) (apiv1.JobListResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := apiv1.JobListResult{Jobs: []apiv1.Job{}}
	for _, jobID := range slices.Backward(g.order) {
		j := g.jobs[jobID]
		if p.Status == "" || p.Status == j.Status {
			out.Jobs = append(out.Jobs, j.Job)
		}
	}
	if p.Limit > 0 && len(out.Jobs) > p.Limit {
		out.Jobs, out.NextCursor = out.Jobs[:p.Limit], "next"
	}
	return out, nil
}

func (g *Gateway) cancel(_ context.Context, p apiv1.JobCancelParams) (apiv1.JobCancelResult, error) {
	j, err := g.job(p.JobID)
	if err != nil {
		return apiv1.JobCancelResult{}, err
	}
	if j.EndedAt != "" {
		return apiv1.JobCancelResult{}, errs.New(errs.Conflict, "The job has ended.")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancelled = append(g.cancelled, p)
	return apiv1.JobCancelResult{JobID: p.JobID, Status: j.Status, CancelRequested: true}, nil
}

func (g *Gateway) events(_ context.Context, p apiv1.JobEventsParams) (apiv1.EventPage, error) {
	j, err := g.job(p.JobID)
	if err != nil {
		return apiv1.EventPage{}, err
	}
	out := apiv1.EventPage{Events: []apiv1.Event{}, Next: p.After}
	for i := range j.Events {
		if j.Events[i].Seq > p.After && (p.Limit == 0 || len(out.Events) < p.Limit) {
			out.Events = append(out.Events, j.Events[i])
			out.Next = j.Events[i].Seq
		}
	}
	out.Done = out.Next >= j.LastSeq
	return out, nil
}

func (g *Gateway) artifacts(_ context.Context, p apiv1.JobRef) (apiv1.Artifacts, error) {
	j, err := g.job(p.JobID)
	if err != nil {
		return apiv1.Artifacts{}, err
	}
	out := apiv1.Artifacts{Artifacts: []apiv1.Artifact{}}
	for _, name := range j.Artifacts {
		data := j.Files[name]
		sum := sha256.Sum256(data)
		out.Artifacts = append(out.Artifacts, apiv1.Artifact{
			Name: name, Size: int64(len(data)), ContentType: "application/octet-stream",
			SHA256: hex.EncodeToString(sum[:]), ExpiresAt: "2026-11-22T19:00:00.000Z",
			URL: fmt.Sprintf("%s/blobs/%s/%x?signature=s3cr3t", g.URL, j.JobID, name),
		})
	}
	return out, nil
}

// authorized answers a request without the key as the contract says.
func (g *Gateway) authorized(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("X-Api-Key") == Key {
		return true
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("WWW-Authenticate", "Bearer")
	w.WriteHeader(http.StatusUnauthorized)
	resp := jsonrpc.Response{Error: jsonrpc.Render(errs.New(errs.Unauthenticated, ""), "req_test")}
	_, _ = w.Write(resp.Encode())
	return false
}

func (g *Gateway) serveRPC(w http.ResponseWriter, r *http.Request) {
	if !g.authorized(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	answer := g.mux.Serve(r.Context(), body, jsonrpc.Options{RequestID: "req_test"})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Status())
	_, _ = w.Write(answer.Body)
}

func (g *Gateway) serveBlob(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Api-Key") != "" {
		// A signed URL may be another host's: a key here is a leak.
		http.Error(w, "the key was sent along with a signed URL", http.StatusTeapot)
		return
	}
	name, err := hex.DecodeString(r.PathValue("name"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	j, err := g.job(r.PathValue("job"))
	if err != nil || r.URL.Query().Get("signature") == "" {
		http.NotFound(w, r)
		return
	}
	data := slices.Clone(j.Files[string(name)])
	if g.CorruptFiles && len(data) > 0 {
		data[0] ^= 1
	}
	_, _ = w.Write(data)
}

// Events numbers a job's log: each line is "TYPE DATA".
func Events(jobID string, lines ...string) []apiv1.Event {
	out := make([]apiv1.Event, len(lines))
	for i, line := range lines {
		eventType, data, _ := strings.Cut(line, " ")
		if data == "" {
			data = "{}"
		}
		out[i] = apiv1.Event{
			JobID: jobID, Seq: int64(i + 1), Attempt: 1, Time: fmt.Sprintf("2026-11-22T18:00:%02d.000Z", i%60),
			Type: eventType, Data: json.RawMessage(data),
		}
	}
	return out
}
