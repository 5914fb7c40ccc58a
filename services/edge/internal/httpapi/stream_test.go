package httpapi_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/streams"
)

// events opens a stream after two events.
func (b *bench) events(jobID, accept string) *bufio.Reader {
	b.t.Helper()
	_, r := b.dial("GET /v1/jobs/" + jobID + "/events?after=2 HTTP/1.1\r\nHost: gw\r\nAccept: " + accept)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

// retryOf is the hint at the end of an SSE stream.
func retryOf(t *testing.T, end string) time.Duration {
	t.Helper()
	text, ok := strings.CutPrefix(end, "retry: ")
	ms, err := strconv.Atoi(strings.TrimSuffix(text, "\n\n"))
	hint := time.Duration(ms) * time.Millisecond
	if !ok || err != nil || hint < streams.RetryFrom || hint >= streams.RetryTo {
		t.Errorf("the stream ended with %q, want a retry hint", end)
	}
	return hint
}

// A reader slower than its job is told to come back where the form can say so,
// and cut where it cannot.
func TestStreamSlowerThanItsJob(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		t.Run(accept, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := startHub(t, open{}, hub.Options{RingBytes: 4 << 10, SlowAfter: 3 * time.Second})
				j := b.Submit(t, job.Submission{})
				h := b.Claim(t, j.ID)
				body := b.events(j.ID, accept)
				edgetest.Say(t, h, "item/started", `{}`)
				if _, err := body.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // live
				hush := edgetest.Chatter(t, h, "item/started", `{"text":"`+strings.Repeat("x", 2<<10)+`"}`)
				var end strings.Builder // what follows the last event
				var err error
				for began := time.Now(); err == nil && time.Since(began) < 5*time.Minute; {
					var line string
					line, err = body.ReadString('\n')
					switch {
					case strings.HasPrefix(line, "data: "), strings.HasPrefix(line, "{"):
						end.Reset()
						pass(100 * time.Millisecond)
					case line != "\n" || end.Len() > 0:
						end.WriteString(line)
					}
				}
				hush()
				if accept == "application/x-ndjson" {
					if !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("%v, want the stream cut", err)
					}
					return
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("%v, want the stream's end", err)
				}
				retryOf(t, end.String())
			})
		})
	}
}

// When the instance goes away, streams say when to come back, at different
// moments, and polls have a valid answer at once.
func TestDrainEndsStreamsAndPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{})
		j := b.Submit(t, job.Submission{})
		b.Claim(t, j.ID)
		const readers = 40
		var bodies []*bufio.Reader
		for range readers {
			body := b.events(j.ID, "text/event-stream")
			bodies = append(bodies, body)
		}
		lines := b.events(j.ID, "application/x-ndjson")
		_, poll := b.dial("GET /v1/jobs/" + j.ID + "/events?after=2&wait=60 HTTP/1.1\r\nHost: gw")
		synctest.Wait()
		began := time.Now()
		b.streams.Drain()
		early := 0
		for _, body := range bodies {
			end, err := io.ReadAll(body)
			if err != nil {
				t.Error(err)
			}
			if retryOf(t, string(end)) < (streams.RetryFrom+streams.RetryTo)/2 {
				early++
			}
		}
		if early < 5 || early > readers-5 { // by chance once in five million runs
			t.Errorf("%d of %d hints in the first half", early, readers)
		}
		if _, err := io.ReadAll(lines); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("JSON lines: %v, want them cut: they cannot say that more will come", err)
		}
		resp, err := http.ReadResponse(poll, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || string(answer) != `{"events":[],"next":2,"done":false}` {
			t.Errorf("poll: %s, %v", answer, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A stream whose credential has ended is cut, since a clean end would say that
// the job has; a poll can say why.
func TestStreamsEndWithTheirCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{})
		j := b.Submit(t, job.Submission{})
		b.Claim(t, j.ID)
		cut := map[string]*bufio.Reader{}
		for _, form := range []string{"text/event-stream", "application/x-ndjson"} {
			cut[form] = b.events(j.ID, form)
		}
		_, poll := b.dial("GET /v1/jobs/" + j.ID + "/events?after=2&wait=60 HTTP/1.1\r\nHost: gw")
		synctest.Wait()
		b.streams.End(keyID, errs.New(errs.Unauthenticated, "The key was revoked."))
		for form, body := range cut {
			if rest, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %q, %v, want it cut", form, rest, err)
			}
		}
		if got := status(t, poll); got != http.StatusUnauthorized {
			t.Errorf("poll: status %d, want 401", got)
		}
	})
}
