package jail_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"codexgateway.dev/services/worker/internal/jail"
)

// bomb forks until it may not, and says so.
const bomb = `bash -c 'b() { b & b & wait; }; b' 2>/dev/null & `

func TestAForkBombStopsNoOtherTree(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	const most = 100
	bombed := dirs(t, l)
	bombed.Limits = jail.Limits{Processes: most}
	// Built-in commands only: no process can be started when it is full.
	p := start(t, l, bombed, bomb+`while set -- /proc/[0-9]*; [ $# -lt 90 ]; do :; done; echo full; read line`)
	if got := line(t, bufio.NewReader(p.Stdout)); got != "full" {
		t.Fatalf("the bomb said %q", got)
	}

	// The same user, the same bound, at the same time: all of it is there.
	other := dirs(t, l)
	other.Limits = jail.Limits{Processes: most}
	stdout, stderr, st := run(t, l, other, `i=0; while [ $i -lt 80 ]; do sleep 60 & i=$((i+1)); done; set -- /proc/[0-9]*; echo $#`)
	// Bubblewrap's reaper and the shell come on top.
	if strings.TrimSpace(stdout) != "82" || stderr != "" || st.Code != 0 {
		t.Errorf("beside a fork bomb: %q, %q, %+v", stdout, stderr, st)
	}
	p.Kill()
	<-p.Done()
}

func TestFilesAndMemoryFilesAreBounded(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{ShmBytes: 1 << 20, TmpBytes: 1 << 20})
	s := dirs(t, l)
	s.Limits = jail.Limits{FileBytes: 1 << 20}
	stdout, _, _ := run(t, l, s, `
		trap '' XFSZ
		head -c 2000000 /dev/zero >/workspace/f 2>/dev/null || echo file bounded
		head -c 900000 /dev/zero >/dev/shm/a 2>/dev/null && echo shared memory works
		head -c 900000 /dev/zero >/dev/shm/b 2>/dev/null || echo shared memory bounded
		rm /dev/shm/*
		head -c 900000 /dev/zero >/tmp/a && head -c 900000 /dev/zero >/tmp/b 2>/dev/null || echo tmp bounded
		(: >/dev/made) 2>/dev/null || echo no files in dev
		: >/dev/codex-home/made && echo home writable
		: >/dev/null && echo devices work`)
	want := "file bounded\nshared memory works\nshared memory bounded\ntmp bounded\nno files in dev\nhome writable\ndevices work\n"
	if stdout != want {
		t.Errorf("got:\n%s\nwant:\n%s", stdout, want)
	}
}

func TestALimitAboveTheWorkersOwnIsTheWorkersOwn(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	s := dirs(t, l)
	s.Limits = jail.Limits{OpenFiles: 1 << 40}
	stdout, _, _ := run(t, l, s, `ulimit -Sn; ulimit -Hn`)
	soft, hard, _ := strings.Cut(strings.TrimSpace(stdout), "\n")
	if soft == "" || soft != hard {
		t.Errorf("soft %q, hard %q", soft, hard)
	}
}

// A worker killed while it builds a jail may leave bubblewrap's child; here a
// process of the same name stands for it.
func TestOpenEndsWhatAKilledWorkerLeft(t *testing.T) {
	t.Parallel()
	launcher(t, jail.Config{}) // skips where there is none
	const mark = "codexgw-jail-test-leftover"
	begin := func(name string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/bin/sleep", "600")
		cmd.Args[0] = name
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		// Start returns a moment before the kernel shows the name.
		eventually(t, name+" is seen", func() bool {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
			return err == nil && strings.HasPrefix(string(raw), name+"\x00")
		})
		return cmd
	}
	left, foreign := begin(mark), begin(mark+"-of-another")
	l, err := open(jail.Config{Mark: mark})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := left.Wait(); err == nil || left.ProcessState.ExitCode() != -1 {
		t.Errorf("the leftover ended with %v", left.ProcessState)
	}
	if err := foreign.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other worker's process: %v", err)
	}
	// The launcher's own jails carry the mark and live.
	if _, stderr, st := run(t, l, dirs(t, l), "exit 7"); st.Code != 7 {
		t.Errorf("%+v: %s", st, stderr)
	}
}
