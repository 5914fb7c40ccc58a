package gcptest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// RunAdmin is the part of the Cloud Run Admin API v2 that the reconciler calls:
// jobs.run, workerPools.get and workerPools.patch, over HTTP.
type RunAdmin struct {
	// Addr is host:port, the value of RUN_ADMIN_EMULATOR_HOST.
	Addr string
	*webServer

	mu         sync.Mutex
	jobs       map[string]bool
	pools      map[string]pool
	executions []Execution
}

// pool is a worker pool: its size and how often it was changed.
type pool struct {
	instances, version int64
}

func (p pool) etag() string { return fmt.Sprintf("\"v%d\"", p.version) }

// Execution is one started execution of a job.
type Execution struct {
	// Name is projects/P/locations/R/jobs/J/executions/E.
	Name string
	// Env are the variables that override the job's own.
	Env map[string]string
	// Timeout is that of a task, such as "3600s"; empty: the job's own.
	Timeout string
}

// StartRunAdmin starts a server at addr; empty: a free loopback port.
func StartRunAdmin(ctx context.Context, addr string) (*RunAdmin, error) {
	ln, err := listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	s := &RunAdmin{Addr: ln.Addr().String(), jobs: make(map[string]bool), pools: make(map[string]pool)}
	mux := http.NewServeMux()
	const at = "/v2/projects/{project}/locations/{region}"
	mux.HandleFunc("POST "+at+"/jobs/{call}", s.run)
	mux.HandleFunc("GET "+at+"/workerPools/{pool}", s.get)
	mux.HandleFunc("PATCH "+at+"/workerPools/{pool}", s.patch)
	s.webServer = serveHTTP(ln, mux, newFaults())
	return s, nil
}

// NewRunAdmin is a server that ends with tb.
func NewRunAdmin(tb testing.TB) *RunAdmin {
	tb.Helper()
	s, err := StartRunAdmin(tb.Context(), "")
	return ending(tb, s, err)
}

// AddJob makes a job exist, by its full name.
func (s *RunAdmin) AddJob(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[name] = true
}

// SetPool makes a worker pool exist with so many instances, by its full name.
func (s *RunAdmin) SetPool(name string, instances int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools[name] = pool{instances: instances, version: s.pools[name].version + 1}
}

// Instances is the size of a worker pool.
func (s *RunAdmin) Instances(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[name].instances
}

// Executions are those started so far, oldest first.
func (s *RunAdmin) Executions() []Execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.executions)
	for i := range out {
		out[i].Env = maps.Clone(out[i].Env)
	}
	return out
}

func (s *RunAdmin) run(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), ":run")
	var body struct {
		Overrides struct {
			Timeout            string `json:"timeout"`
			ContainerOverrides []struct {
				Env []struct{ Name, Value string } `json:"env"`
			} `json:"containerOverrides"` //nolint:tagliatelle // Google's names
		} `json:"overrides"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); {
	case err != nil:
		fail(w, http.StatusBadRequest)
		return
	case !ok || !s.jobs[name]:
		fail(w, http.StatusNotFound)
		return
	}
	e := Execution{Name: name + "/executions/e" + strconv.Itoa(len(s.executions)+1), Env: map[string]string{}, Timeout: body.Overrides.Timeout}
	for _, c := range body.Overrides.ContainerOverrides {
		for _, v := range c.Env {
			e.Env[v.Name] = v.Value
		}
	}
	s.executions = append(s.executions, e)
	answer(w, map[string]any{
		"name":     strings.SplitN(name, "/jobs/", 2)[0] + "/operations/op",
		"metadata": map[string]any{"@type": "type.googleapis.com/google.cloud.run.v2.Execution", "name": e.Name},
	})
}

func (s *RunAdmin) get(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/v2/")
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pools[name]
	if !ok {
		fail(w, http.StatusNotFound)
		return
	}
	scaling := map[string]any{"scalingMode": "MANUAL"}
	if p.instances > 0 { // as the API: a zero is left out
		scaling["manualInstanceCount"] = p.instances
	}
	answer(w, map[string]any{"name": name, "etag": p.etag(), "scaling": scaling})
}

// patch changes the size when that is all the mask names: a patch that would
// reset the rest of the pool is a mistake and is refused.
func (s *RunAdmin) patch(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/v2/")
	var body struct {
		Etag    string `json:"etag"`
		Scaling struct {
			ManualInstanceCount *int64 `json:"manualInstanceCount"` //nolint:tagliatelle // Google's name
		} `json:"scaling"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.pools[name]
	switch {
	case !known:
		fail(w, http.StatusNotFound)
	case err != nil, r.URL.Query().Get("updateMask") != "scaling.manualInstanceCount",
		body.Scaling.ManualInstanceCount == nil, *body.Scaling.ManualInstanceCount < 0:
		fail(w, http.StatusBadRequest)
	case body.Etag != "" && body.Etag != p.etag():
		fail(w, http.StatusConflict)
	default:
		s.pools[name] = pool{instances: *body.Scaling.ManualInstanceCount, version: p.version + 1}
		answer(w, map[string]any{"name": strings.SplitN(name, "/workerPools/", 2)[0] + "/operations/op"})
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(body) // the client may have left
}
