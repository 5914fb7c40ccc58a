package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/services/worker/codexversion"
	"codexgateway.dev/test/localcloud"
)

// world is what all tests have in common, made once by TestMain.
type world struct {
	// gateway and fakeCodex are the programs built of this tree.
	gateway, fakeCodex string
	// services is the directory of the services' own programs, cloud what they
	// run on; both only for the tests on Google Cloud.
	services string
	cloud    *localcloud.Cloud
	// model is the mock model of all gateways that have no process for it.
	model *mockmodel.Running
	// codex is the real Codex CLI.
	codex codexversion.Package
	// base is a directory below the user's cache directory for data directories.
	base string
	// running bounds the gateways that run at one time: each has a Codex process
	// of its own, and a machine that is too busy shows timeouts, not defects.
	running chan struct{}
	// sharing bounds the tests that use the shared gateway at one time.
	sharing chan struct{}
}

// maxGateways is how many gateways run at one time.
const maxGateways = 5

// maxSharing is how many tests use the shared gateway at one time.
const maxSharing = 6

var tests world

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	flag.Parse()
	// What bounds the load is maxGateways and maxSharing. The tests must not wait
	// for each other in another way too: one that has a gateway and waits for its
	// subtests would wait for tests that wait for a gateway, for ever.
	if err := flag.Set("test.parallel", "256"); err != nil {
		return complain(err)
	}
	clean, err := prepare()
	defer clean()
	if err != nil {
		return complain(err)
	}
	if onCloud() {
		stop, err := startCloud(context.Background())
		if errors.Is(err, gcptest.ErrNoEmulators) {
			fmt.Fprintln(os.Stderr, "NOT RUN on Google Cloud:", err)
			return 0
		}
		if err != nil {
			return complain(err)
		}
		defer func() {
			if err := stop(); err != nil {
				code = complain(err)
			}
		}()
	}
	code = m.Run()
	if err := stopShared(); err != nil {
		return complain(err)
	}
	return code
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// services are the programs of a deployment on Google Cloud; none elsewhere.
func services() []string {
	if !onCloud() {
		return nil
	}
	return []string{"edge", "worker", "reconciler", "notifier"}
}

// prepare finds Codex and builds the programs; clean is never nil.
func prepare() (clean func(), err error) {
	var dirs []string
	clean = func() {
		for _, dir := range dirs {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
			}
		}
	}
	tests.running, tests.sharing = make(chan struct{}, maxGateways), make(chan struct{}, maxSharing)
	if tests.codex, err = codexversion.Locate(""); err != nil {
		return clean, fmt.Errorf("%w: run `make setup`", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return clean, err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return clean, err
	}
	if tests.base, err = os.MkdirTemp(cache, "codexgw-e2e-"); err != nil {
		return clean, err
	}
	dirs = append(dirs, tests.base)
	bin, err := os.MkdirTemp("", "codexgw-e2e-bin-")
	if err != nil {
		return clean, err
	}
	dirs = append(dirs, bin)
	tests.fakeCodex = filepath.Join(bin, "fakecodex")
	programs := map[string]string{tests.fakeCodex: "codexgateway.dev/test/fakecodex"}
	// What `make build` has made, or such programs built with -race, are taken as
	// they are.
	if built := os.Getenv("CODEXGW_TEST_BIN"); built != "" {
		bin = built
	} else {
		programs[filepath.Join(bin, "codexgw")] = "codexgateway.dev/services/standalone/cmd/codexgw"
		for _, name := range services() {
			programs[filepath.Join(bin, name)] = "codexgateway.dev/services/" + name + "/cmd/" + name
		}
	}
	tests.gateway, tests.services = filepath.Join(bin, "codexgw"), bin
	for out, pkg := range programs {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		build := exec.CommandContext(ctx, "go", "build", "-tags", "disable_grpc_modules", "-o", out, pkg)
		if text, err := build.CombinedOutput(); err != nil {
			return clean, fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	}
	return clean, nil
}
