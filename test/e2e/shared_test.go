package e2e_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// theShared is the gateway of the tests that change nothing about it.
var theShared struct {
	sync.Once

	g   *gateway
	err error
}

// sharers are the tests that have their place at the shared gateway; a subtest
// has that of its test.
var sharers sync.Map

// shared is a gateway with the mock model that allows file repositories. Tests
// that kill it, or count what it holds, start their own.
func shared(t *testing.T) *gateway {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	if _, has := sharers.LoadOrStore(test, true); !has {
		tests.sharing <- struct{}{}
		t.Cleanup(func() { sharers.Delete(test); <-tests.sharing })
	}
	theShared.Do(func() {
		tests.running <- struct{}{} // freed by the end of the tests
		g := newGateway(options{wide: true, data: filepath.Join(tests.base, "shared"), env: map[string]string{
			"CODEXGW_REPO_ALLOW_FILE": "true", "CODEXGW_EGRESS_ALLOW": "127.0.0.0/8",
		}})
		if theShared.err = g.launch(); theShared.err == nil {
			theShared.g = g
		}
	})
	if theShared.err != nil {
		t.Fatal(theShared.err)
	}
	return theShared.g
}

func stopShared() error {
	if theShared.g == nil {
		return nil
	}
	return errors.Join(theShared.g.stop(), theShared.g.healthy())
}
