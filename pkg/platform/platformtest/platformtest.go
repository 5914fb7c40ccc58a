package platformtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/secret"
)

// Open opens the platform that belongs to t with the documents of schema and
// the topics of package events. Called again with the same t, after the first
// was closed, it opens the same documents and blobs.
type Open func(t *testing.T, schema docstore.Schema) *platform.Platform

// wait bounds every wait of the suite.
const wait = 2 * time.Minute

var schema = docstore.Schema{{
	Name:    "things",
	Fields:  []docstore.Field{{Name: "kind", Kind: docstore.String}, {Name: "at", Kind: docstore.Int}},
	Indexes: []docstore.Index{{Name: "by_kind", Equal: []string{"kind"}, Order: "at"}},
}}

// Baseline is what the servers beneath a platform are known not to do, by the
// name of the check, with the reason. A listed check must fail: one that passes
// fails the suite, so that the list stays true.
type Baseline map[string]string

// Run runs the suite. It checks for leaked goroutines after a close, so no
// other test may run beside it. known is nil where nothing is missing.
func Run(t *testing.T, open Open, known Baseline) {
	t.Helper()
	t.Run("one story through all ports", func(t *testing.T) { story(t, open) })
	t.Run("signed URLs", func(t *testing.T) { signedURLs(t, open, known) })
	t.Run("blobs are written whole or not at all", func(t *testing.T) { wholeBlobs(t, open) })
	t.Run("reopened: documents and blobs stay, messages do not matter", func(t *testing.T) { reopened(t, open) })
	t.Run("closed cleanly", func(t *testing.T) { closedCleanly(t, open) })
}

// opened opens the platform and closes it after the test.
func opened(t *testing.T, open Open) *platform.Platform {
	t.Helper()
	p := open(t, schema)
	t.Cleanup(func() { closeIt(t, p) })
	return p
}

// Serves waits until every port can serve: on a busy machine the first answer may
// take longer than a check may.
func Serves(t *testing.T, p *platform.Platform) {
	t.Helper()
	limit := time.After(wait)
	for {
		var all []error
		for _, s := range p.Check(t.Context()) {
			if s.Err != nil {
				all = append(all, fmt.Errorf("%s: %w", s.Name, s.Err))
			}
		}
		if len(all) == 0 {
			return
		}
		select {
		case <-limit:
			t.Fatalf("cannot serve: %v", errors.Join(all...))
		default:
		}
	}
}

func closeIt(t *testing.T, p *platform.Platform) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func key(id string) docstore.Key { return docstore.Key{Collection: "things", ID: id} }

func commit(t *testing.T, p *platform.Platform, id string, data []byte) {
	t.Helper()
	_, err := p.Docs.Commit(t.Context(), []docstore.Write{{
		Op: docstore.Create, Key: key(id), Fields: docstore.Fields{"kind": "job", "at": int64(1)}, Data: data,
	}})
	if err != nil {
		t.Fatalf("commit %s: %v", id, err)
	}
}

// jobEvent is the hint that a document is there.
func jobEvent(t *testing.T, id string) events.Event {
	t.Helper()
	ev, err := events.New(events.Head{ID: "evt_" + id, Source: "/codexgw/suite", Subject: id, Time: time.Now()}, events.JobSubmitted{JobID: id})
	if err != nil {
		t.Fatalf("event: %v", err)
	}
	return ev
}

// story: one side commits a document and publishes a hint; the other hears it,
// reads the document, stores a result and signs a link, which is then fetched.
func story(t *testing.T, open Open) {
	t.Helper()
	p := opened(t, open)
	Serves(t, p)
	if _, err := p.Secrets.Get(t.Context(), "no-such-secret"); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("secret: error %v, want ErrNotFound", err)
	}

	link := make(chan string, 1)
	work := func(ctx context.Context, d *bus.Delivery) bus.Outcome {
		payload, err := events.Decode(&d.Event)
		job, ok := payload.(*events.JobSubmitted)
		if err != nil || !ok {
			return bus.Outcome{Verdict: bus.Reject, Reason: "undecodable"}
		}
		doc, err := p.Docs.Get(ctx, key(job.JobID))
		if err != nil {
			t.Errorf("the hint came before its document: %v", err)
			return bus.Outcome{Verdict: bus.Retry}
		}
		name := "jobs/" + job.JobID + "/diff.patch"
		if err := p.WriteBlob(ctx, name, bytes.ToUpper(doc.Data), "text/x-diff"); err != nil {
			t.Errorf("write blob: %v", err)
		}
		u, err := p.Blobs.SignedURL(ctx, name, &blob.SignedURLOptions{Method: http.MethodGet, Expiry: linkLife})
		if err != nil {
			t.Errorf("sign: %v", err)
		}
		link <- u
		return bus.Outcome{Verdict: bus.Ack}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- p.Bus.Receive(ctx, events.SubJobCommandsWorker, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready}, work)
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("receive: %v", err)
		}
	}()
	<-ready

	data := []byte(`{"prompt":"hello"}`)
	commit(t, p, "job_1", data)
	if err := p.Bus.Publish(t.Context(), jobEvent(t, "job_1")); err != nil {
		t.Fatalf("publish: %v", err)
	}
	select {
	case u := <-link:
		got := fetch(t, p, http.MethodGet, u, nil)
		if got.status != http.StatusOK || got.body != string(bytes.ToUpper(data)) {
			t.Errorf("fetched %d %q", got.status, got.body)
		}
	case <-time.After(wait):
		t.Fatal("timed out: nobody did the work")
	}
}

func wholeBlobs(t *testing.T, open Open) {
	t.Helper()
	p := opened(t, open)
	const name = "jobs/job_1/workspace.tar.zst"
	if err := p.WriteBlob(t.Context(), name, []byte("first"), ""); err != nil {
		t.Fatalf("write: %v", err)
	}
	broken := errors.New("broken source")
	if _, err := p.UploadBlob(t.Context(), name, io.MultiReader(strings.NewReader("half"), &failing{broken}), ""); !errors.Is(err, broken) {
		t.Errorf("upload of a broken source: error %v, want its own", err)
	}
	if _, err := p.UploadBlob(t.Context(), "jobs/job_1/new", &failing{broken}, ""); !errors.Is(err, broken) {
		t.Errorf("upload of a broken source: error %v, want its own", err)
	}
	if got, err := p.Blobs.ReadAll(t.Context(), name); err != nil || string(got) != "first" {
		t.Errorf("after a failed upload: %q %v, want the old blob", got, err)
	}
	n, err := p.UploadBlob(t.Context(), name, strings.NewReader("second"), "application/zstd")
	if err != nil || n != 6 {
		t.Errorf("upload: %d bytes, %v", n, err)
	}
	attrs, err := p.Blobs.Attributes(t.Context(), name)
	if err != nil || attrs.ContentType != "application/zstd" || attrs.Size != 6 {
		t.Errorf("attributes: %+v %v", attrs, err)
	}
	var names []string
	for it := p.Blobs.List(&blob.ListOptions{Prefix: "jobs/job_1/"}); ; {
		o, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		names = append(names, o.Key)
	}
	if diff := cmp.Diff([]string{name}, names); diff != "" {
		t.Errorf("blobs left behind (-want +got):\n%s", diff)
	}
	if _, err := p.Blobs.ReadAll(t.Context(), "jobs/job_2/none"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("missing blob: error %v, want NotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WriteBlob(ctx, "jobs/job_1/late", []byte("x"), ""); !errors.Is(err, context.Canceled) && gcerrors.Code(err) != gcerrors.Canceled {
		t.Errorf("write with an ended context: error %v, want Canceled", err)
	}
}

// failing is a source that breaks.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func reopened(t *testing.T, open Open) {
	t.Helper()
	p := opened(t, open)
	commit(t, p, "job_1", []byte("kept"))
	if err := p.WriteBlob(t.Context(), "jobs/job_1/x", []byte("kept too"), ""); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := p.Bus.Publish(t.Context(), jobEvent(t, "job_1")); err != nil {
		t.Fatalf("publish: %v", err)
	}
	link, err := p.Blobs.SignedURL(t.Context(), "jobs/job_1/x", nil)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	closeIt(t, p)

	p = opened(t, open)
	doc, err := p.Docs.Get(t.Context(), key("job_1"))
	if err != nil || string(doc.Data) != "kept" {
		t.Errorf("document: %q %v", doc.Data, err)
	}
	page, err := p.Docs.Query(t.Context(), docstore.Query{Collection: "things", Index: "by_kind", Equal: []any{"job"}})
	if err != nil || len(page.Docs) != 1 {
		t.Errorf("query: %d documents, %v", len(page.Docs), err)
	}
	if got, err := p.Blobs.ReadAll(t.Context(), "jobs/job_1/x"); err != nil || string(got) != "kept too" {
		t.Errorf("blob: %q %v", got, err)
	}
	if got := fetch(t, p, http.MethodGet, link, nil); got.status != http.StatusOK {
		t.Errorf("a link given out before the restart answers %d", got.status)
	}
}

func closedCleanly(t *testing.T, open Open) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	p := open(t, schema)
	received := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		received <- p.Bus.Receive(context.WithoutCancel(t.Context()), events.SubJobControlWorker, bus.ReceiveOptions{MaxOutstanding: 1, Ready: ready},
			func(context.Context, *bus.Delivery) bus.Outcome { return bus.Outcome{Verdict: bus.Ack} })
	}()
	<-ready
	closeIt(t, p)
	if err := <-received; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("running receive: error %v, want ErrClosed", err)
	}
	closeIt(t, p) // twice is fine
	failed := map[string]bool{}
	for _, s := range p.Check(t.Context()) {
		failed[s.Name] = s.Err != nil
	}
	if diff := cmp.Diff(map[string]bool{"bus": true, "docs": true, "blobs": true, "secrets": true}, failed); diff != "" {
		t.Errorf("a closed platform says it can serve (-want +got):\n%s", diff)
	}
	goleak.VerifyNone(t, before)
}

// answer is what an HTTP call gave.
type answer struct {
	status int
	header http.Header
	body   string
}

// fetch calls a link: a relative one leads to the platform's blob handler.
func fetch(t *testing.T, p *platform.Platform, method, link string, header http.Header) answer {
	t.Helper()
	target, err := url.Parse(link)
	if err != nil {
		t.Fatalf("link %q: %v", link, err)
	}
	if target.IsAbs() == (p.BlobHandler != nil) {
		t.Fatalf("link %q: relative ones have a handler, absolute ones have none", link)
	}
	if p.BlobHandler != nil {
		srv := httptest.NewServer(p.BlobHandler)
		defer srv.Close()
		base, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		target = base.ResolveReference(target)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wait}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// isProblem reports whether the answer is an RFC 9457 problem of its status.
func (a answer) isProblem() bool {
	var body struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
	}
	err := json.Unmarshal([]byte(a.body), &body)
	return err == nil && body.Status == a.status && body.Code != "" && a.header.Get("Content-Type") == "application/problem+json"
}
