package gcptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Local is the emulators of one test binary: those that the environment names,
// or else started by the first test that asks, and stopped by Main. The zero
// value is ready.
//
//	var cloud gcptest.Local
//	func TestMain(m *testing.M) { os.Exit(cloud.Main(m)) }
type Local struct {
	pubsub, firestore lazy
}

type lazy struct {
	once     sync.Once
	addr     string
	emulator *Emulator
	err      error
}

// Main runs the tests and stops what they have started; it returns the exit
// code. after are checks of what the tests left behind, such as goleak's.
func (l *Local) Main(m *testing.M, after ...func() error) int {
	code := m.Run()
	problems := []error{l.pubsub.stop(), l.firestore.stop()}
	if code == 0 {
		for _, check := range after {
			problems = append(problems, check())
		}
	}
	if err := errors.Join(problems...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// PubSub is the address of the Pub/Sub emulator. A machine without it skips tb.
func (l *Local) PubSub(tb testing.TB) string {
	tb.Helper()
	return l.pubsub.get(tb, PubSub)
}

// Firestore is the address of the Firestore emulator. A machine without it skips tb.
func (l *Local) Firestore(tb testing.TB) string {
	tb.Helper()
	return l.firestore.get(tb, Firestore)
}

func (l *lazy) get(tb testing.TB, kind Kind) string {
	tb.Helper()
	l.once.Do(func() {
		if l.addr = os.Getenv(kind.Env()); l.addr != "" { //nolint:forbidigo // a test's process
			return
		}
		if l.emulator, l.err = StartEmulator(context.Background(), kind, ""); l.err == nil {
			l.addr = l.emulator.Addr
		}
	})
	if errors.Is(l.err, ErrNoEmulators) {
		tb.Skipf("NOT RUN, needs the %s emulator: %v", kind, l.err)
	}
	if l.err != nil {
		tb.Fatal(l.err)
	}
	return l.addr
}

func (l *lazy) stop() error {
	if l.emulator == nil {
		return nil
	}
	return l.emulator.Stop()
}

// Leaks are the options of goleak for a package that uses this one: the client
// of Pub/Sub links a library that starts a goroutine at init, which no one can
// stop.
func Leaks() []goleak.Option {
	return []goleak.Option{goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")}
}
