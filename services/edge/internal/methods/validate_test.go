package methods

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
)

const pixel = "data:image/png;base64,iVBORw0KGgo="

func pairs(n int) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		m[fmt.Sprint(i)] = "v"
	}
	return m
}

func TestValidatePrompt(t *testing.T) {
	t.Parallel()
	type P = apiv1.PromptParams
	repeat := strings.Repeat
	for _, tc := range []struct {
		name  string
		field string // empty: accepted
		p     P
	}{
		{"prompt alone", "", P{Prompt: "x"}},
		{"no prompt", "/prompt", P{}},
		{"blank prompt", "/prompt", P{Prompt: " \n"}},
		{"longest prompt, in characters", "", P{Prompt: repeat("ä", 1<<20)}},
		{"prompt too long", "/prompt", P{Prompt: repeat("a", 1<<20+1)}},
		{"session", "", P{Prompt: "x", SessionID: "my session/ä"}},
		{"conversation", "", P{Prompt: "x", ConversationID: "conv_1"}},
		{"both", "/conversation_id", P{Prompt: "x", SessionID: "s", ConversationID: "c"}},
		{"long session", "/session_id", P{Prompt: "x", SessionID: repeat("s", 256)}},
		{"session with newline", "/session_id", P{Prompt: "x", SessionID: "a\nb"}},
		{"long conversation", "/conversation_id", P{Prompt: "x", ConversationID: repeat("s", 256)}},
		{"model", "", P{Prompt: "x", Model: "openai/gpt-5.2-codex:beta"}},
		{"model with space", "/model", P{Prompt: "x", Model: "gpt 5"}},
		{"model like an option", "/model", P{Prompt: "x", Model: "--help"}},
		{"model with quote", "/model", P{Prompt: "x", Model: `a"b`}},
		{"long model", "/model", P{Prompt: "x", Model: repeat("m", 129)}},
		{"effort", "", P{Prompt: "x", Effort: "xhigh"}},
		{"bad effort", "/effort", P{Prompt: "x", Effort: "max"}},
		{"schema", "", P{Prompt: "x", OutputSchema: json.RawMessage(`{"type":"object"}`)}},
		{"null schema", "", P{Prompt: "x", OutputSchema: json.RawMessage(`null`)}},
		{"schema that is no object", "/output_schema", P{Prompt: "x", OutputSchema: json.RawMessage(`true`)}},
		{"schema that is a list", "/output_schema", P{Prompt: "x", OutputSchema: json.RawMessage(`[]`)}},
		{"sandbox", "", P{Prompt: "x", Sandbox: "read-only"}},
		{"full access", "/sandbox", P{Prompt: "x", Sandbox: "danger-full-access"}},
		{"approvals never", "", P{Prompt: "x", ApprovalPolicy: "never"}},
		{"approvals not served", "/approval_policy", P{Prompt: "x", ApprovalPolicy: "on-request"}},
		{"bad approvals", "/approval_policy", P{Prompt: "x", ApprovalPolicy: "always"}},
		{"longest timeout", "", P{Prompt: "x", TimeoutS: 21600}},
		{"timeout too long", "/timeout_s", P{Prompt: "x", TimeoutS: 21601}},
		{"negative timeout", "/timeout_s", P{Prompt: "x", TimeoutS: -1}},
		{"priority", "", P{Prompt: "x", Priority: -5}},
		{"large priority", "/priority", P{Prompt: "x", Priority: 101}},
		{"most metadata", "", P{Prompt: "x", Metadata: pairs(16)}},
		{"too much metadata", "/metadata", P{Prompt: "x", Metadata: pairs(17)}},
		{"empty metadata key", "/metadata", P{Prompt: "x", Metadata: map[string]string{"": "v"}}},
		{"long metadata key", "/metadata", P{Prompt: "x", Metadata: map[string]string{repeat("k", 65): "v"}}},
		{"long metadata value", "/metadata/a~1b", P{Prompt: "x", Metadata: map[string]string{"a/b": repeat("v", 513)}}},
		{"callback", "/callback_url", P{Prompt: "x", CallbackURL: "https://example.com/hook"}},
		{"plain callback", "/callback_url", P{Prompt: "x", CallbackURL: "http://example.com/hook"}},
		{"idempotency key", "", P{Prompt: "x", IdempotencyKey: repeat("k", 255)}},
		{"long idempotency key", "/idempotency_key", P{Prompt: "x", IdempotencyKey: repeat("k", 256)}},
		{"longest wait", "", P{Prompt: "x", Wait: 60}},
		{"long wait", "/wait", P{Prompt: "x", Wait: 61}},
		{"negative wait", "/wait", P{Prompt: "x", Wait: -1}},
		{"image", "", P{Prompt: "x", Images: []string{pixel}}},
		{"image from the web", "/images/1", P{Prompt: "x", Images: []string{pixel, "https://example.com/a.png"}}},
		{"image from a path", "/images/0", P{Prompt: "x", Images: []string{"/etc/passwd"}}},
		{"image by file id", "/images/0", P{Prompt: "x", Images: []string{"file_1"}}},
		{"image of another type", "/images/0", P{Prompt: "x", Images: []string{"data:text/html;base64,aGk="}}},
		{"image without type", "/images/0", P{Prompt: "x", Images: []string{"data:;base64,aGk="}}},
		{"image not base64", "/images/0", P{Prompt: "x", Images: []string{"data:image/png,abc"}}},
		{"image with bad base64", "/images/0", P{Prompt: "x", Images: []string{"data:image/png;base64,?"}}},
		{"empty image", "/images/0", P{Prompt: "x", Images: []string{"data:image/png;base64,"}}},
		{"too many images", "/images", P{Prompt: "x", Images: make([]string, 33)}},
		{"repo", "", P{Prompt: "x", Repo: &apiv1.Repo{URL: "https://example.com/a/b.git", Ref: "feature/x", Subdir: "a/b"}}},
		{"repo without URL", "/repo/url", P{Prompt: "x", Repo: &apiv1.Repo{}}},
		{"repo with bad ref", "/repo/ref", P{Prompt: "x", Repo: &apiv1.Repo{URL: "https://example.com/a", Ref: "--upload-pack=x"}}},
		{"repo with bad subdir", "/repo/subdir", P{Prompt: "x", Repo: &apiv1.Repo{URL: "https://example.com/a", Subdir: "../x"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := validatePrompt(&tc.p, false)
			if tc.field == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if e := errs.From(err); err == nil || e.Code != errs.InvalidParams || e.Field != tc.field {
				t.Errorf("%v, want invalid_params at %s", err, tc.field)
			}
		})
	}
}

func TestSpecIsWhatWasAsked(t *testing.T) {
	t.Parallel()
	got, err := validatePrompt(&apiv1.PromptParams{
		Prompt: "p", Model: "m", Effort: "low", Images: []string{pixel}, OutputSchema: json.RawMessage(`{}`),
		Repo:    &apiv1.Repo{URL: "file:///srv/repo", Ref: "main", Subdir: "d"},
		Sandbox: "read-only", Network: true, ApprovalPolicy: "never", TimeoutS: 90, Priority: 3, Metadata: map[string]string{"a": "b"},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := job.Spec{
		Prompt: "p", Model: "m", Effort: "low", Images: []string{pixel}, OutputSchema: json.RawMessage(`{}`),
		Repo:    &job.Repo{URL: "file:///srv/repo", Ref: "main", Subdir: "d"},
		Sandbox: "read-only", Network: true, ApprovalPolicy: "never", Timeout: 90 * time.Second, Priority: 3, Metadata: map[string]string{"a": "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestRepoURL(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{
		"https://github.com/openai/codex", "https://github.com/openai/codex.git", "https://git.example.com:8443/a/b",
		"ssh://git@github.com/a/b.git", "ssh://github.com:22/a",
		"git@github.com:openai/codex.git", "github.com:a/b", "user.name@host-1.example.com:~/x",
	} {
		if bad := wrongRepoURL(ok, false); bad != "" {
			t.Errorf("%s refused: %s", ok, bad)
		}
	}
	for _, bad := range []string{
		"", "x", "/srv/repo", "./repo", "http://github.com/a/b", "git://github.com/a/b", "ftp://example.com/a",
		"https://user:pass@github.com/a/b", "https://token@github.com/a/b", "ssh://git:pw@github.com/a",
		"ext::sh -c touch% /tmp/x", "ext::sh", "https://ext::sh/a", "--upload-pack=touch", "-oProxyCommand=x:y",
		"ssh://-oProxyCommand=x/a", "ssh://git@-oProxyCommand=x/a", "git@-oProxyCommand=x:a", "-git@host:a", "git@host:-a", "git@host:",
		"https://github.com/a\nhost=evil", "https://github.com/a%0ahost=evil", "https://github.com/a b", "https://github.com/a?x=1",
		"https://github.com/a#frag", "https://github.com", "https://github.com/", "https:///a", "https:a/b", "https://exa_mple/a$(x)\"",
		`C:\repo`, "https://github.com:99999999/a", "file:///srv/repo", "FILE:///srv/repo",
		"https://example.com/" + strings.Repeat("a", 2100),
	} {
		if wrongRepoURL(bad, false) == "" {
			t.Errorf("%q accepted", bad)
		}
	}
	for s, ok := range map[string]bool{
		"file:///srv/repo": true, "file:///srv/repo/": true, "file://host/srv": false, "file:///srv/../etc": false, "file://srv": false,
	} {
		if bad := wrongRepoURL(s, true); (bad == "") != ok {
			t.Errorf("%q: %q, want accepted %t", s, bad, ok)
		}
	}
}

func TestRefAndSubdir(t *testing.T) {
	t.Parallel()
	for ref, ok := range map[string]bool{
		"": true, "main": true, "feature/ä-1": true, "v1.2.3": true, "refs/heads/main": true, strings.Repeat("a", 40): true,
		"-x": false, "a..b": false, "a b": false, "a\nb": false, "a~1": false, "a^": false, "a:b": false, "a@{1}": false,
		"a*": false, "a?": false, "a[": false, `a\b`: false, "/a": false, "a/": false, "a.lock": false, "a.": false, "a//b": false,
		strings.Repeat("a", 256): false,
	} {
		if bad := wrongRef(ref); (bad == "") != ok {
			t.Errorf("ref %q: %q, want accepted %t", ref, bad, ok)
		}
	}
	for dir, ok := range map[string]bool{
		"": true, "a": true, "a/b": true, "a/b/": true, "a-b/.c": true,
		"/a": false, "../a": false, "a/../b": false, "a/../../b": false, "./a": false, "a//b": false, `a\b`: false, "a\x00": false, "-a": false,
	} {
		if bad := wrongSubdir(dir); (bad == "") != ok {
			t.Errorf("subdir %q: %q, want accepted %t", dir, bad, ok)
		}
	}
}

// FuzzRepoURL holds what git and ssh must never see, whatever the form.
func FuzzRepoURL(f *testing.F) {
	for _, s := range []string{
		"https://github.com/a/b", "git@host:a", "ssh://git@host/a", "ext::sh", "https://u:p@h/a", "-x", "file:///a", "a:b", "https://h/%0a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if wrongRepoURL(s, false) != "" {
			return
		}
		if strings.HasPrefix(s, "-") || strings.Contains(s, "::") || hasControl(s) || strings.HasPrefix(s, "file:") ||
			strings.Contains(s, "://-") || strings.Contains(s, "@-") || strings.ContainsAny(s, " \"\\") {
			t.Errorf("%q accepted", s)
		}
	})
}

func TestNewPageIsCut(t *testing.T) {
	t.Parallel()
	big := json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`)
	p := NewPage(5, []json.RawMessage{big, big, big}, true)
	if len(p.Events) != 1 || p.Next != 6 || p.Done {
		t.Errorf("%d events, next %d, done %t; want 1, 6, false", len(p.Events), p.Next, p.Done)
	}
	p = NewPage(5, []json.RawMessage{append(big, big...)}, true)
	if len(p.Events) != 1 || !p.Done {
		t.Error("one event that is larger than a page must come all the same")
	}
	empty := NewPage(5, nil, false)
	if got := string(empty.Encode()); got != `{"events":[],"next":5,"done":false}` {
		t.Errorf("empty page: %s", got)
	}
}
