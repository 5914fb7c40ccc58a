package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apiv1"
)

// changes is a prompt that makes one file with a sandboxed command and another
// with a patch.
const changes = "mock: shell echo one > made-by-shell.txt\nmock: write dir/made-by-patch.txt two\nmock: say all done"

func TestAJobLeavesItsResults(t *testing.T) {
	t.Parallel()
	g := shared(t)
	o := g.run(t, changes)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	if o.Content != "all done" || o.Attempt != 1 || o.Usage.TotalTokens == 0 {
		t.Errorf("content %q, attempt %d, usage %+v", o.Content, o.Attempt, o.Usage)
	}
	diff := g.artifact(t, o.JobID, "diff.patch")
	for _, want := range []string{"+++ b/made-by-shell.txt", "\n+one\n", "+++ b/dir/made-by-patch.txt", "\n+two\n"} {
		if !strings.Contains(diff, want) {
			t.Errorf("the diff has no %q:\n%s", want, diff)
		}
	}
	if got := g.artifact(t, o.JobID, "last_message.txt"); got != "all done" {
		t.Errorf("last_message.txt = %q", got)
	}
	files := g.workspace(t, o.JobID)
	if files["made-by-shell.txt"] != "one\n" || files["dir/made-by-patch.txt"] != "two\n" {
		t.Errorf("the workspace holds %q", files)
	}
	var archived []apiv1.Event
	if err := eachLine(strings.NewReader(unzstd(t, g.artifact(t, o.JobID, "events.jsonl.zst"))), func(line string) error {
		e, err := decodeEvent(line)
		archived = append(archived, e)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "events.jsonl.zst", o.events, archived)
}

func TestArtifactLinksNeedNoKeyAndCannotBeForged(t *testing.T) {
	t.Parallel()
	g := shared(t)
	o := g.run(t, "mock: shell echo x > f.txt")
	route := "/v1/jobs/" + o.JobID + "/artifacts/diff.patch"
	if r := g.get(t, route, nil); r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a key: status %d", r.status)
	}
	redirect := g.get(t, route, g.auth())
	if redirect.status != http.StatusFound {
		t.Fatalf("status %d, want 302", redirect.status)
	}
	list, err := g.Artifacts(t.Context(), o.JobID)
	if err != nil || len(list) != 4 {
		t.Fatalf("artifacts %+v, %v", list, err)
	}
	for _, link := range []string{redirect.header.Get("Location"), list[0].URL} {
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(link, g.key.Reveal()) {
			t.Error("the link holds the key")
		}
		if status, body := fetch(t, g, u); status != http.StatusOK || !strings.Contains(body, "+x") {
			t.Errorf("the link: status %d, %q", status, body)
		}
		if onCloud() {
			continue // the storage server of the tests checks no signature
		}
		for name := range u.Query() {
			forged, q := *u, u.Query()
			v := []byte(q.Get(name))
			v[len(v)/2] ^= 1
			q.Set(name, string(v))
			forged.RawQuery = q.Encode()
			if status, _ := fetch(t, g, &forged); status != http.StatusForbidden {
				t.Errorf("with another %s: status %d, want 403", name, status)
			}
			q.Del(name)
			forged.RawQuery = q.Encode()
			if status, _ := fetch(t, g, &forged); status != http.StatusForbidden {
				t.Errorf("without %s: status %d, want 403", name, status)
			}
		}
	}
	if r := g.get(t, "/v1/jobs/"+o.JobID+"/artifacts/none.txt", g.auth()); r.status != http.StatusNotFound {
		t.Errorf("an unknown artifact: status %d, want 404", r.status)
	}
}

// fetch gets a link without the key.
func fetch(t *testing.T, g *gateway, u *url.URL) (status int, body string) {
	t.Helper()
	if u.Host != "" { // it leads to the storage, not to the gateway
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	path := u.Path
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	r := g.get(t, path, nil)
	return r.status, r.body
}
