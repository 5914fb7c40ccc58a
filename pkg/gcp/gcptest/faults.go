package gcptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Fault is a failure of one of the HTTP servers, used up by the requests that
// it meets.
type Fault struct {
	// Method and Path select requests; empty: any. Path is a part of the URL's path.
	Method, Path string
	// Status is answered, with an error body as Google's APIs write them.
	Status int
	// Times is how many requests fail. 0: one.
	Times int
	// Applied serves the request first and throws its answer away: the client
	// cannot know whether it was done.
	Applied bool
	// Hang answers nothing until the client has left or the server stops.
	Hang bool
}

// faults are the failures still to come, oldest first, and the requests seen.
type faults struct {
	stopped chan struct{}

	mu   sync.Mutex
	next []Fault
	seen map[string]int
}

func newFaults() *faults { return &faults{stopped: make(chan struct{}), seen: make(map[string]int)} }

func (f *faults) add(fault Fault) {
	fault.Times = max(fault.Times, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, fault)
}

func (f *faults) requests(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[method]
}

// take returns the fault of a request, if it has one.
func (f *faults) take(r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[r.Method]++
	i := slices.IndexFunc(f.next, func(c Fault) bool {
		return (c.Method == "" || c.Method == r.Method) && strings.Contains(r.URL.Path, c.Path)
	})
	if i < 0 {
		return Fault{}, false
	}
	found := f.next[i]
	if f.next[i].Times--; f.next[i].Times == 0 {
		f.next = slices.Delete(f.next, i, i+1)
	}
	return found, true
}

// before lets faults happen in front of a handler.
func (f *faults) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, ok := f.take(r)
		switch {
		case !ok:
			next.ServeHTTP(w, r)
			return
		case fault.Hang:
			select {
			case <-r.Context().Done():
			case <-f.stopped:
			}
			panic(http.ErrAbortHandler) // no answer at all
		case fault.Applied:
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		fail(w, fault.Status)
	})
}

// fail writes an error as Google's JSON APIs do.
func fail(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q}}`, status, "injected: "+http.StatusText(status)) // the client may have left
}
