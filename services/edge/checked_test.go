package edge_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"testing"
)

// checked is a transport that holds every answer to the contract.
type checked struct {
	http.RoundTripper

	tb testing.TB
}

func (c *checked) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		if sent, err = io.ReadAll(body); err != nil {
			return nil, err
		}
	}
	resp, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	x := &exchange{contract: promises(c.tb), method: r.Method, path: r.URL.Path, sent: sent, status: resp.StatusCode, header: resp.Header.Clone(), empty: resp.ContentLength == 0}
	x.report(c.tb, x.head())
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is the connection
		resp.Body = &recorded{ReadCloser: resp.Body, done: func(body []byte, whole bool) { x.report(c.tb, x.body(body, whole)) }}
	}
	return resp, nil
}

// recorded is a body that is looked at when it was read, or as much of it as was.
type recorded struct {
	io.ReadCloser

	read bytes.Buffer
	done func(body []byte, whole bool)
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.read.Write(p[:n])
	if errors.Is(err, io.EOF) {
		r.finish(true)
	}
	return n, err
}

func (r *recorded) Close() error {
	r.finish(false)
	return r.ReadCloser.Close()
}

func (r *recorded) finish(whole bool) {
	if r.done != nil {
		r.done(r.read.Bytes(), whole)
		r.done = nil
	}
}

// exchange is a request and what was answered.
type exchange struct {
	contract     *contract
	method, path string
	sent         []byte
	status       int
	header       http.Header
	// empty answers say that they have no body.
	empty bool
}

func (x *exchange) report(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Errorf("%s %s, answered %d, is not as docs/reference says: %v", x.method, x.path, x.status, err)
	}
}

func (x *exchange) mediaType() string {
	mediaType, _, err := mime.ParseMediaType(x.header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}

// head checks what comes before the body.
func (x *exchange) head() error {
	if x.header.Get("X-Request-Id") == "" {
		return errors.New("it has no X-Request-Id")
	}
	template, answers, ok := x.contract.documented(x.method, x.path)
	if !ok {
		return undocumented(template, x.method, x.status, x.header)
	}
	a, ok := answers[x.status]
	if !ok {
		return errors.New("the status is not documented")
	}
	x.contract.saw(x.method, template, x.status)
	for name, h := range a.headers {
		if err := h.check(x.header.Get(name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, whatever := a.bodies["*/*"]
	_, known := a.bodies[x.mediaType()]
	if none := x.method == http.MethodHead || x.empty && len(a.bodies) == 0; !known && !whatever && !none {
		return fmt.Errorf("media type %q is not documented", x.mediaType())
	}
	return nil
}

func (h *documentedHeader) check(value string) error {
	if value == "" {
		if h.required {
			return errors.New("missing")
		}
		return nil
	}
	var v any = value
	if h.integer {
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		v = n
	}
	return h.schema.Validate(v)
}

// body checks the body, which may not be whole if it was cut or left.
func (x *exchange) body(body []byte, whole bool) error {
	template, answers, ok := x.contract.documented(x.method, x.path)
	mediaType := x.mediaType()
	switch {
	case !whole && isJSONType(mediaType), x.method == http.MethodHead, mediaType == "":
		return nil
	case !isJSONType(mediaType):
		if template == "/v1/jobs/{id}/events" {
			return x.contract.events(mediaType, body)
		}
		return nil
	}
	if x.header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	schema := x.contract.problem
	if ok {
		schema = answers[x.status].bodies[mediaType]
	}
	if schema == nil {
		return nil // which the head was reported for
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	if err := schema.Validate(v); err != nil {
		return err
	}
	if template == "/jsonrpc" && mediaType == "application/json" {
		return x.rpc(body)
	}
	if p, ok := v.(map[string]any); ok && mediaType == "application/problem+json" {
		return x.said(p)
	}
	return nil
}

// said checks that a problem says what the answer around it does.
func (x *exchange) said(p map[string]any) error {
	if p["status"] != float64(x.status) || p["request_id"] != x.header.Get("X-Request-Id") {
		return fmt.Errorf("problem %v in an answer to %s", p, x.header.Get("X-Request-Id"))
	}
	return nil
}

// rpc checks the answers to calls.
func (x *exchange) rpc(body []byte) error {
	called := calls{}
	called.add(x.sent)
	batch := bytes.HasPrefix(bytes.TrimSpace(body), []byte("["))
	for _, raw := range members(body) {
		failure, err := x.contract.rpcAnswer(raw, called)
		if err != nil {
			return err
		}
		want := http.StatusOK
		if failure != nil && failure.Envelope && !batch {
			want = failure.HTTP
		}
		if x.status != want {
			return fmt.Errorf("status %d for %s, want %d", x.status, raw, want)
		}
	}
	return nil
}
