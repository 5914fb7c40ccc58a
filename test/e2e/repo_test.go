package e2e_test

import (
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"codexgateway.dev/pkg/apiv1"
)

// branched is a repository whose branch, tag and first commit differ.
func branched(t *testing.T) (dir, first string) {
	t.Helper()
	dir = project(t)
	commit := func(text string) {
		writeFile(t, filepath.Join(dir, "which.txt"), text+"\n")
		writeFile(t, filepath.Join(dir, "sub", "dir", "inner.txt"), text+"\n")
		git(t, dir, "add", ".")
		git(t, dir, "commit", "-q", "-m", text)
	}
	commit("first")
	first = git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "tag", "-a", "-m", "v1", "v1")
	git(t, dir, "checkout", "-q", "-b", "feature")
	commit("feature")
	git(t, dir, "checkout", "-q", "main")
	commit("latest")
	return dir, first
}

func TestAJobWorksOnTheRefItNames(t *testing.T) {
	t.Parallel()
	g := shared(t)
	dir, first := branched(t)
	for name, c := range map[string]struct{ ref, subdir, file, want string }{
		"default branch": {"", "", "which.txt", "latest\n"},
		"branch":         {"feature", "", "which.txt", "feature\n"},
		"tag":            {"v1", "", "which.txt", "first\n"},
		"commit":         {first, "", "which.txt", "first\n"},
		"subdirectory":   {"feature", "sub/dir", "inner.txt", "feature\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := g.runWith(t, apiv1.PromptParams{
				Prompt: "mock: shell cp " + c.file + " seen.txt && git log -1 --format=%s",
				Repo:   &apiv1.Repo{URL: "file://" + dir, Ref: c.ref, Subdir: c.subdir},
			})
			o.wantStatus(t, apiv1.StatusCompleted, "")
			seen := filepath.ToSlash(filepath.Join(c.subdir, "seen.txt"))
			if files := g.workspace(t, o.JobID); files[seen] != c.want {
				t.Errorf("%s = %q, want %q", seen, files[seen], c.want)
			}
			diff := g.artifact(t, o.JobID, "diff.patch")
			if !strings.Contains(diff, "+++ b/"+seen) || strings.Count(diff, "diff --git") != 1 {
				t.Errorf("the diff is not that of %s alone:\n%s", seen, diff)
			}
		})
	}
}

func TestARepositoryThatIsNotThereFailsTheJob(t *testing.T) {
	t.Parallel()
	g := shared(t)
	dir, _ := branched(t)
	for name, c := range map[string]struct {
		repo apiv1.Repo
		code string
	}{
		"unknown branch":     {apiv1.Repo{URL: "file://" + dir, Ref: "nowhere"}, "repo_ref_not_found"},
		"unknown commit":     {apiv1.Repo{URL: "file://" + dir, Ref: strings.Repeat("1", 40)}, "repo_ref_not_found"},
		"missing repository": {apiv1.Repo{URL: "file://" + dir + "/nowhere"}, "repo_unreachable"},
		"ssh without a key":  {apiv1.Repo{URL: "ssh://git@127.0.0.1/x.git"}, "repo_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := g.runWith(t, apiv1.PromptParams{Prompt: "say hello", Repo: &c.repo})
			o.wantStatus(t, apiv1.StatusFailed, c.code)
		})
	}
}

func TestHostileRepositoriesAreRefusedAtTheEdge(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for name, c := range map[string]struct {
		repo  apiv1.Repo
		field string
	}{
		"remote helper":        {apiv1.Repo{URL: "ext::sh -c touch% /tmp/x"}, "/repo/url"},
		"credentials":          {apiv1.Repo{URL: "https://user:secret@example.com/x.git"}, "/repo/url"},
		"token":                {apiv1.Repo{URL: "https://token@example.com/x.git"}, "/repo/url"},
		"option":               {apiv1.Repo{URL: "--upload-pack=touch"}, "/repo/url"},
		"option as host":       {apiv1.Repo{URL: "ssh://-oProxyCommand=touch/x"}, "/repo/url"},
		"plain http":           {apiv1.Repo{URL: "http://example.com/x.git"}, "/repo/url"},
		"line break":           {apiv1.Repo{URL: "https://example.com/x\n.git"}, "/repo/url"},
		"hidden line break":    {apiv1.Repo{URL: "https://example.com/x%0a.git"}, "/repo/url"},
		"ref as option":        {apiv1.Repo{URL: "https://example.com/x.git", Ref: "--upload-pack=x"}, "/repo/ref"},
		"ref as range":         {apiv1.Repo{URL: "https://example.com/x.git", Ref: "a..b"}, "/repo/ref"},
		"subdirectory outside": {apiv1.Repo{URL: "https://example.com/x.git", Subdir: "../etc"}, "/repo/subdir"},
		"absolute":             {apiv1.Repo{URL: "https://example.com/x.git", Subdir: "/etc"}, "/repo/subdir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := g.Prompt(t.Context(), apiv1.PromptParams{Prompt: "x", Repo: &c.repo})
			wantCode(t, err, "invalid_params", c.field)
		})
	}
}

// listener counts who connects to a port of this machine.
func listener(t *testing.T) (port string, connections *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	connections = &atomic.Int64{}
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, connections
}

func TestRepositoriesOfThisMachineAreRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	port, connections := listener(t)
	repo := &apiv1.Repo{URL: "https://127.0.0.1:" + port + "/x.git"}

	strict := start(t, options{})
	_, err := strict.Prompt(t.Context(), apiv1.PromptParams{Prompt: "x", Repo: &apiv1.Repo{URL: "file://" + project(t)}})
	wantCode(t, err, "invalid_params", "/repo/url")
	for _, url := range []string{repo.URL, "https://localhost:" + port + "/x.git", "https://0.0.0.0:" + port + "/x.git", "https://169.254.169.254/x.git"} {
		o := strict.runWith(t, apiv1.PromptParams{Prompt: "x", Repo: &apiv1.Repo{URL: url}})
		o.wantStatus(t, apiv1.StatusFailed, "repo_refused")
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("a refused address was connected to %d times", n)
	}

	o := shared(t).runWith(t, apiv1.PromptParams{Prompt: "x", Repo: repo})
	o.wantStatus(t, apiv1.StatusFailed, "repo_unreachable")
	if connections.Load() == 0 {
		t.Error("an allowed address was not connected to")
	}
}
