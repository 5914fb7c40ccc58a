package e2e_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/freeport"
	"codexgateway.dev/pkg/programtest"
	"codexgateway.dev/services/worker/codexversion"
)

// refused starts a gateway that must not start, and checks that it says why:
// standard error holds each of the words.
func refused(t *testing.T, opt options, addr string, words ...string) {
	t.Helper()
	g := newGateway(opt)
	if g.addr = addr; addr == "" {
		g.addr = freeport.Addr()
	}
	if err := g.planEmbedded(); err != nil {
		t.Fatal(err)
	}
	n := g.nodes[0]
	out, err := n.spawn()
	if err != nil {
		t.Fatal(err)
	}
	printed := make(chan string, 1)
	go func() { // ends with the process
		raw, _ := io.ReadAll(out)
		printed <- string(raw)
	}()
	t.Cleanup(func() { _ = g.stop() })
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-n.done:
	case <-limit.C:
		t.Errorf("it did not end in %v\n%s", startLimit, n.stderr)
		return
	}
	said := n.stderr.String()
	if code := n.cmd.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("exit code %d, want a failure\n%s", code, said)
	}
	if got := <-printed; strings.Contains(got, "ready ") {
		t.Errorf("it said that it is ready: %s", got)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("standard error does not name %q:\n%s", word, said)
		}
	}
	if strings.Contains(said, "goroutine ") {
		t.Errorf("a stack trace is no message:\n%s", said)
	}
}

func TestABadStartSaysWhatToDo(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "codexgw up starts there")
	// One gateway, with a job, that every bad start must leave alone.
	g := start(t, options{})
	before := g.run(t, "mock: shell echo kept > kept.txt")
	before.wantStatus(t, apiv1.StatusCompleted, "")

	old := fakePackage(t)
	programtest.Write(t, filepath.Join(old, "bin", "codex"), []byte("#!/bin/sh\necho codex-cli 0.1.0\n"))
	refused(t, options{data: g.dir}, "", g.dir) // while the first one runs
	refused(t, options{data: dataDir(t)}, g.addr, g.addr, "--addr")
	g.terminate(t)

	refused(t, options{data: g.dir, codex: "/nonexistent/codex"}, "", "/nonexistent/codex", "make setup")
	refused(t, options{data: g.dir, codex: old}, "", "0.1.0", codexversion.Pinned())
	refused(t, options{data: g.dir, realModel: true}, "", "OPENAI_API_KEY", "--mock-model")
	refused(t, options{data: filepath.Join(os.TempDir(), "codexgw-e2e-data")}, "", os.TempDir(), "--data")
	refused(t, options{data: g.dir, env: map[string]string{"CODEXGW_LEASE": "soon", "CODEXGW_WORKER_WARM": "-1"}}, "", "CODEXGW_LEASE", "CODEXGW_WORKER_WARM")
	refused(t, options{data: g.dir, env: map[string]string{"CODEXGW_EGRESS_ALLOW": "everywhere"}}, "", "CODEXGW_EGRESS_ALLOW", "everywhere")
	refused(t, options{data: g.dir}, "nowhere", "nowhere", "--addr")

	g.up(t)
	after := g.await(t, before.JobID)
	wantSame(t, "the job of before", before.events, after.events)
	o := g.run(t, "say hello")
	o.wantStatus(t, apiv1.StatusCompleted, "")
}

func TestADamagedDatabaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "the database is a file there")
	g := start(t, options{})
	before := g.run(t, "say hello")
	g.terminate(t)

	db := filepath.Join(g.dir, "gateway.db")
	good, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte("this is no database at all, it is some text\n"), good[min(len(good), 44):]...)
	if err := os.WriteFile(db, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, options{data: g.dir}, "", db)
	if now, err := os.ReadFile(db); err != nil || string(now) != string(bad) {
		t.Errorf("the damaged database was changed: %v", err)
	}
	if err := os.WriteFile(db, good, 0o600); err != nil {
		t.Fatal(err)
	}
	g.up(t)
	after := g.await(t, before.JobID)
	wantSame(t, "the job of before", before.events, after.events)
}

func TestADataDirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "the database is a file there")
	dir := dataDir(t)
	if os.Geteuid() == 0 {
		mount(t, dir, "ro")
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	refused(t, options{data: dir}, "", dir)
	refused(t, options{data: filepath.Join(dir, "below")}, "", dir, "--data")
}

// mount mounts a small file system of memory on a directory for the test.
func mount(t *testing.T, dir, how string) {
	t.Helper()
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("needs root on Linux: a file system of its own is mounted")
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "mode=0700,"+how, "codexgw-e2e", dir).CombinedOutput(); err != nil {
		t.Skipf("needs mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

func TestAFullDiskRefusesWorkAndLosesNone(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "the database is on the disk there")
	dir := dataDir(t)
	mount(t, dir, "size=24m")
	// The slots of running jobs lie elsewhere: it is the stores that are full.
	g := start(t, options{data: dir, mayFail: true, env: map[string]string{"CODEXGW_WORKER_DIR": dataDir(t)}})
	before := g.run(t, changes)
	before.wantStatus(t, apiv1.StatusCompleted, "")

	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	// The database has some room left in its files, so the first may still fit.
	eventually(t, "a full disk refuses a job", func() bool {
		_, err := g.Prompt(t.Context(), apiv1.PromptParams{Prompt: strings.Repeat("x", 64<<10)})
		if err == nil {
			fill(t, filler+"-more")
			return false
		}
		wantCode(t, err, "overloaded", "")
		return true
	})
	if _, err := g.GetJob(t.Context(), before.JobID); err != nil {
		t.Errorf("a full disk also refuses to read: %v", err)
	}
	for _, name := range []string{filler, filler + "-more"} {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "jobs are taken again", func() bool {
		_, err := g.Prompt(t.Context(), apiv1.PromptParams{Prompt: "say hello", IdempotencyKey: "after-full"})
		return err == nil
	})
	p, err := g.Prompt(t.Context(), apiv1.PromptParams{Prompt: "say hello", IdempotencyKey: "after-full"})
	if err != nil {
		t.Fatal(err)
	}
	o := g.await(t, p.JobID())
	o.wantStatus(t, apiv1.StatusCompleted, "")
	after := g.await(t, before.JobID)
	wantSame(t, "the job of before", before.events, after.events)
	if files := g.workspace(t, before.JobID); files["made-by-shell.txt"] != "one\n" {
		t.Errorf("the workspace of before: %q", files)
	}
	// Jobs that were taken while the disk was nearly full end, one way or another.
	list, err := g.ListJobs(t.Context(), apiv1.JobListParams{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Jobs {
		g.await(t, list.Jobs[i].JobID)
	}
}

// fill writes a file until no space is left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return // no space for even the name
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 4 << 10} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
	}
}

func TestTheGatewayListensWhereItIsTold(t *testing.T) {
	t.Parallel()
	embeddedOnly(t, "codexgw up chooses the address there")
	g := shared(t)
	if g.url != "http://"+g.addr {
		t.Errorf("url %s, listening on %s", g.url, g.addr)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, path := range []string{"/health", "/ready", "/openrpc.json"} {
		if r := g.get(t, path, nil); r.status != http.StatusOK {
			t.Errorf("%s: status %d", path, r.status)
		}
	}
}
