package sqlitestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
)

var crashSchema = docstore.Schema{
	{
		Name:    "pairs",
		Fields:  []docstore.Field{{Name: "writer", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: "by_writer", Order: "writer"}},
	},
}

// commitForever is the child of the crash test: writers that commit pairs of
// documents and print each id once its commit was acknowledged. It ends by
// being killed, or by its deadline should the parent be gone.
func commitForever(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	s, err := Open(ctx, path, crashSchema, Options{})
	if err != nil {
		fmt.Println("error", err)
		cancel()
	}
	var wg sync.WaitGroup
	var out sync.Mutex
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				v, err := s.Commit(ctx, pair(id, w))
				out.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("acked", id, v[0], v[1])
				}
				out.Unlock()
			}
		})
	}
	wg.Wait()
	cancel()
	os.Exit(1)
}

func pair(id string, writer int) []docstore.Write {
	data := []byte(strings.Repeat(id, 20))
	fields := docstore.Fields{"writer": int64(writer)}
	return []docstore.Write{
		{Op: docstore.Create, Key: docstore.Key{Collection: "pairs", ID: id + "-a"}, Fields: fields, Data: data},
		{Op: docstore.Create, Key: docstore.Key{Collection: "pairs", ID: id + "-b"}, Fields: fields, Data: data},
	}
}

// Every acknowledged commit is there after kill -9, whole, and no version of one
// life comes back in the next.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "docs.db")
	acked := make(map[string][2]docstore.Version)
	for life := range 3 {
		maps.Copy(acked, killAfter(t, path, 100*(life+1)))
		verifyAcked(t, path, acked)
	}
}

// killAfter runs a child until it has acknowledged n commits, kills it in the
// middle of its work and returns everything it acknowledged.
func killAfter(t *testing.T, path string, n int) map[string][2]docstore.Version {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := make(map[string][2]docstore.Version)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var id string
		var v [2]docstore.Version
		if _, err := fmt.Sscanf(lines.Text(), "acked %s %d %d", &id, &v[0], &v[1]); err != nil {
			// The last line may be cut; anything else is the child's trouble.
			if len(acked) < n {
				t.Errorf("child: %s", lines.Text())
			}
			continue
		}
		if acked[id] = v; len(acked) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("child: %v, want it killed", err)
	}
	if len(acked) < n {
		t.Fatalf("child acknowledged %d commits, want %d", len(acked), n)
	}
	return acked
}

func verifyAcked(t *testing.T, path string, acked map[string][2]docstore.Version) {
	t.Helper()
	s := mustOpen(t, path, crashSchema)
	found := make(map[string]docstore.Version)
	for _, d := range all(t, s, docstore.Query{Collection: "pairs", Index: "by_writer"}) {
		found[d.Key.ID] = d.Version
	}
	versions := make(map[docstore.Version]string, len(found))
	for id, v := range found {
		if other, twice := versions[v]; twice {
			t.Fatalf("%s and %s have version %d", id, other, v)
		}
		versions[v] = id
		half := strings.NewReplacer("-a", "-b", "-b", "-a").Replace(id)
		if _, ok := found[half]; !ok {
			t.Fatalf("%s is there without its other half", id)
		}
	}
	for id, v := range acked {
		if found[id+"-a"] != v[0] || found[id+"-b"] != v[1] {
			t.Fatalf("%s was acknowledged as %v, found %d and %d", id, v, found[id+"-a"], found[id+"-b"])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkIntegrity(t, path)
}
