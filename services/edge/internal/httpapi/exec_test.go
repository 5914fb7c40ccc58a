package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/hub"
)

// scoped is an authenticator that lets everybody in with some scopes.
type scoped []apikey.Scope

func (s scoped) Authenticate(context.Context, *http.Request) (auth.Principal, error) {
	return auth.Principal{Tenant: edgetest.Tenant, Scopes: s}, nil
}

// exec posts a prompt and reads the head of the answer.
func (b *bench) exec() (status int, jobID string, body *bufio.Reader) {
	b.t.Helper()
	const params = `{"prompt":"hello"}`
	conn, r := b.dial(fmt.Sprintf("POST /exec HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: %d", len(params)))
	if _, err := io.WriteString(conn, params); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode, resp.Header.Get("X-Job-Id"), bufio.NewReader(resp.Body)
}

// Submitting needs one scope, watching another: /exec does both.
func TestExecNeedsBothScopes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		has  scoped
		want int
	}{
		{scoped{apikey.JobsRead}, http.StatusForbidden},
		{scoped{apikey.JobsWrite}, http.StatusForbidden},
		{scoped{apikey.JobsRead, apikey.JobsWrite}, http.StatusOK},
	} {
		t.Run(fmt.Sprint(tc.has), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, tc.has)
				status, _, body := b.exec()
				if status != tc.want {
					t.Fatalf("status %d, want %d", status, tc.want)
				}
				if tc.want == http.StatusOK {
					return
				}
				var p struct {
					Code string `json:"code"`
				}
				if err := json.NewDecoder(body).Decode(&p); err != nil || p.Code != "permission_denied" {
					t.Errorf("%+v, %v", p, err)
				}
				if page, _, err := b.Jobs.List(t.Context(), edgetest.Tenant, job.Filter{Limit: 10}); err != nil || len(page) != 0 {
					t.Errorf("%d jobs, %v", len(page), err)
				}
			})
		})
	}
}

// A job that is stored is named, whatever fails after that.
func TestExecThatCannotBeWatchedNamesItsJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startHub(t, open{}, hub.Options{MaxWatchers: 1})
		b.exec() // the one watcher
		status, jobID, _ := b.exec()
		if status != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", status)
		}
		if _, err := b.Jobs.Get(t.Context(), edgetest.Tenant, jobID); err != nil {
			t.Errorf("the job %q that the answer names: %v", jobID, err)
		}
	})
}

// The lines have no word for an instance that goes away: the stream is cut, so
// that nobody takes its end for the turn's.
func TestDrainCutsExec(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, open{})
		_, _, body := b.exec()
		synctest.Wait()
		b.streams.Drain()
		lines, err := io.ReadAll(body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Count(string(lines), "\n") != 1 {
			t.Errorf("%v after %q, want it cut after the first line", err, lines)
		}
	})
}

func TestExecSlowerThanItsJobIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startHub(t, open{}, hub.Options{RingBytes: 4 << 10, SlowAfter: 3 * time.Second})
		_, jobID, body := b.exec()
		h := b.Claim(t, jobID)
		edgetest.Say(t, h, "turn/started", `{"threadId":"thr_1","turn":{}}`)
		for range 2 { // thread.started, turn.started
			if _, err := body.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // live
		hush := edgetest.Chatter(t, h, "item/completed", `{"threadId":"thr_1","item":{"type":"agentMessage","text":"`+strings.Repeat("x", 2<<10)+`"}}`)
		var err error
		for began := time.Now(); err == nil && time.Since(began) < 5*time.Minute; {
			_, err = body.ReadString('\n')
			pass(100 * time.Millisecond)
		}
		hush()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want the stream cut", err)
		}
	})
}
