package jail_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/services/worker/internal/jail"
)

// daemons starts a sleep that left its session, its parent and its group, one
// plain child, and says so.
func daemons(mark string) string {
	return `(setsid sh -c "setsid sleep ` + mark + ` </dev/null >/dev/null 2>&1 & exec true" &) ; sleep ` + mark + ` & ` +
		`while [ "$(grep -lsaz '^` + mark + `$' /proc/[0-9]*/cmdline | wc -l)" -lt 2 ]; do :; done; echo up; `
}

func TestNothingSurvives(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	stop := func(ctx context.Context, grace time.Duration) func(*jail.Process) error {
		return func(p *jail.Process) error { return p.Stop(ctx, grace) }
	}
	kill := func(p *jail.Process) error { p.Kill(); return nil }
	tell := func(p *jail.Process) error { _, err := p.Stdin.WriteString("go\n"); return err }
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const again = "while :; do wait; done"
	for name, c := range map[string]struct {
		script string
		end    func(*jail.Process) error
		code   int
		// trap is set before the script says that it is up: the signal may come at once.
		trap string
	}{
		"kill":                  {"wait", kill, 137, ""},
		"kill the only process": {"exec sleep 600", kill, 137, ""},
		"kill twice":            {"wait", func(p *jail.Process) error { p.Kill(); return kill(p) }, 137, ""},
		"stop on end of input":  {"cat >/dev/null; exit 3", stop(t.Context(), time.Minute), 3, ""},
		"stop on signal":        {again, stop(t.Context(), 5*time.Second), 4, "trap 'exit 4' TERM; "},
		"stop by force":         {again, stop(t.Context(), 20*time.Millisecond), 137, "trap '' TERM; "},
		"stop without patience": {again, stop(over, time.Minute), 137, "trap '' TERM; "},
		"exit":                  {"read line; exit 5", tell, 5, ""},
		"crash":                 {"read line; kill -SEGV $$", tell, 139, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := mark()
			p := start(t, l, dirs(t, l), c.trap+daemons(mark)+c.script)
			if got := line(t, bufio.NewReader(p.Stdout)); got != "up" {
				t.Fatalf("the tree said %q", got)
			}
			// The script sees the marks already on a setsid that is about to become its sleep.
			eventually(t, "both daemons sleep", func() bool { return alive(t, mark) == 2 })
			if err := c.end(p); err != nil {
				t.Error(err)
			}
			<-p.Done()
			// No waiting here: Done promises that they are gone.
			if n := alive(t, mark); n != 0 {
				t.Errorf("%d processes survived", n)
			}
			if got := p.State(); got != (jail.ExitState{Code: c.code, Started: true}) {
				t.Errorf("State() = %+v, want code %d", got, c.code)
			}
			p.Kill() // harmless afterwards
		})
	}
}

func TestForkStormEndsAtOnce(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	mark := mark()
	p := start(t, l, dirs(t, l), `i=0; while [ $i -lt 200 ]; do setsid sleep `+mark+` & i=$((i+1)); done; echo up; wait`)
	line(t, bufio.NewReader(p.Stdout))
	eventually(t, "200 sleeps", func() bool { return alive(t, mark) == 200 })
	begin := time.Now()
	p.Kill()
	<-p.Done()
	t.Logf("200 processes gone after %v", time.Since(begin))
	if n := alive(t, mark); n != 0 {
		t.Errorf("%d processes survived", n)
	}
}

func TestTreeDiesWithTheWorker(t *testing.T) {
	t.Parallel()
	for _, mode := range []jail.Mode{jail.Namespace, jail.ProcessGroup} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			l := launcher(t, jail.Config{Mode: mode})
			mark := mark()
			script := daemons(mark) + "wait"
			if mode == jail.ProcessGroup {
				// Only the program itself is promised to die here.
				script = "echo up; exec sleep " + mark
			}
			killedWorker(t, mode, dirs(t, l), script)
			eventually(t, "the tree is gone", func() bool { return alive(t, mark) == 0 })
		})
	}
}

func TestNothingOfOthersIsVisible(t *testing.T) {
	t.Parallel()
	shown, data, secret := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "admin.key")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	hidden := filepath.Join(shown, "data")
	for _, d := range []string{hidden, filepath.Join(shown, "bin")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	hiddenFile := filepath.Join(shown, "bin", "key")
	for _, f := range []string{filepath.Join(hidden, "key"), hiddenFile, filepath.Join(shown, "bin", "tool"), filepath.Join(data, "x")} {
		if err := os.WriteFile(f, []byte("s3cret"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d := shown; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil { // world-readable, to prove that modes are not what protects
			t.Fatal(err)
		}
	}
	l := launcher(t, jail.Config{Expose: []string{shown}, Hide: []string{hidden, hiddenFile, data, "/no/such"}})
	other := dirs(t, l)
	if err := os.WriteFile(filepath.Join(other.Home, "auth.json"), []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	mine := dirs(t, l)
	stdout, stderr, st := run(t, l, mine, `
		for f in `+strings.Join([]string{secret, data + "/x", hidden + "/key", hiddenFile, other.Home + "/auth.json"}, " ")+`; do
			[ -s "$f" ] && echo "sees $f"
		done
		cat `+shown+`/bin/tool
		ls -A /home /root /var /run /mnt /srv /tmp/home 2>/dev/null | grep -v -e ':$' -e '^$' -e '^tmp$' -e '^systemd$'
		for d in / /usr /etc /codex-cli `+shown+`; do touch $d/x 2>/dev/null && echo "writes $d"; done
		for d in /dev/codex-home /workspace /tmp /var/tmp /dev/shm "$HOME"; do touch $d/x || echo "cannot write $d"; done
		exit 0`)
	if stdout != "s3cret" || stderr != "" || st.Code != 0 {
		t.Errorf("stdout %q, stderr %q, %+v", stdout, stderr, st)
	}
	if _, err := os.Stat(filepath.Join(mine.Workspace, "x")); err != nil {
		t.Errorf("the workspace is not the job's: %v", err)
	}
}

func TestInsideOfTheJail(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	s := dirs(t, l)
	s.Env = []string{"EXTRA=1"}
	s.Limits = jail.Limits{OpenFiles: 300, Processes: 128}

	t.Run("environment is the given one", func(t *testing.T) {
		t.Parallel()
		stdout, _, _ := run(t, l, s, `tr '\0' '\n' </proc/$$/environ`)
		got := strings.Split(strings.TrimSpace(stdout), "\n")
		want := []string{
			"CODEX_HOME=/dev/codex-home", "EXTRA=1", "HOME=/tmp/home", "LANG=C.UTF-8",
			"PATH=/codex-cli/codex-path:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"PWD=/workspace", "SHELL=/bin/bash", "TMPDIR=/tmp", "USER=codex",
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
	t.Run("processes are its own", func(t *testing.T) {
		t.Parallel()
		stdout, _, _ := run(t, l, s, `cd /proc; for p in [0-9]*; do echo $p; done`)
		if got := strings.Fields(stdout); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("processes %v, want bubblewrap's reaper and the shell", got)
		}
	})
	t.Run("descriptors are three", func(t *testing.T) {
		t.Parallel()
		stdout, _, _ := run(t, l, s, `ls /proc/$$/fd`)
		if !slices.Equal(strings.Fields(stdout), []string{"0", "1", "2"}) {
			t.Errorf("descriptors %q", stdout)
		}
	})
	t.Run("no privilege is left", func(t *testing.T) {
		t.Parallel()
		stdout, _, _ := run(t, l, s, `grep -E '^(Cap|NoNewPrivs|Uid)' /proc/$$/status; ulimit -c; ulimit -n; ulimit -u 2>/dev/null || true`)
		for _, bad := range []string{"Uid:\t0", "CapEff:\t0000000000000001", "NoNewPrivs:\t0"} {
			if strings.Contains(stdout, bad) {
				t.Errorf("found %q in %s", bad, stdout)
			}
		}
		if !strings.Contains(stdout, "CapBnd:\t0000000000000000\n") || !strings.Contains(stdout, "\n0\n300\n") {
			t.Errorf("status %s", stdout)
		}
	})
	t.Run("processes are bounded", func(t *testing.T) {
		t.Parallel()
		_, stderr, _ := run(t, l, s, `i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; exit 0`)
		if stderr == "" {
			t.Error("200 processes within a bound of 128")
		}
	})
	t.Run("zombies are reaped", func(t *testing.T) {
		t.Parallel()
		stdout, _, _ := run(t, l, s, `i=0; while [ $i -lt 50 ]; do (setsid true &); i=$((i+1)); done
			n=1; while [ $n -ne 0 ]; do n=$(grep -sl '^State:.[Z]' /proc/[0-9]*/status | wc -l); done; echo $n`)
		if strings.TrimSpace(stdout) != "0" {
			t.Errorf("zombies: %s", stdout)
		}
	})
}

func TestTmpOnDisk(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	s := dirs(t, l)
	s.Tmp = filepath.Join(filepath.Dir(s.Home), "tmp")
	if err := os.Mkdir(s.Tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Own(s.Tmp); err != nil {
		t.Fatal(err)
	}
	if _, stderr, st := run(t, l, s, `echo hi >/tmp/x && echo hi >$HOME/y`); st.Code != 0 {
		t.Fatalf("%+v: %s", st, stderr)
	}
	if raw, err := os.ReadFile(filepath.Join(s.Tmp, "x")); err != nil || string(raw) != "hi\n" {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	good := dirs(t, l)

	t.Run("missing directory", func(t *testing.T) {
		t.Parallel()
		s := good
		s.Home = filepath.Join(t.TempDir(), "none")
		if _, err := l.Start(t.Context(), s); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("missing program", func(t *testing.T) {
		t.Parallel()
		s := good
		s.Binary = "/no/such"
		p, err := l.Start(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(p.Stderr)
		<-p.Done()
		_, _, _ = p.Stdin.Close(), p.Stdout.Close(), p.Stderr.Close()
		if st := p.State(); st.Started || st.Code == 0 || len(raw) == 0 {
			t.Errorf("State() = %+v, stderr %q", st, raw)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Start(ctx, good); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		l, err := open(jail.Config{})
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := l.Start(t.Context(), good); !errors.Is(err, jail.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("bubblewrap that fails", func(t *testing.T) {
		t.Parallel()
		l, err := open(jail.Config{Bubblewrap: "/bin/false"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var u *jail.UnavailableError
		if err := l.Detect(t.Context()); !errors.As(err, &u) || u.Fix == "" {
			t.Errorf("error %v", err)
		}
	})
}

// An unprivileged worker must get the same jail; root drops to a user that
// could not even reach the directories by path.
func TestDirectoriesBelowAClosedParent(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	s := dirs(t, l)
	closed := filepath.Dir(s.Home)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, stderr, st := run(t, l, s, "touch /workspace/x /dev/codex-home/x"); st.Code != 0 {
		t.Errorf("%+v: %s", st, stderr)
	}
}
