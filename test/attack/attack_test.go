package attack_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"
)

const (
	// patience is how long an answer or the end of a connection may take. It is
	// for a busy machine, and longer than the gateway leaves a connection idle:
	// nothing here asserts a speed.
	patience = 2 * time.Minute

	// canary is in bodies and headers of attacks; neither answers nor the log may
	// repeat it.
	canary = "canary-1c9e"

	// atLeast is how many attacks there are to be, fewest.
	atLeast = 200

	// abreast is how many attacks run at once.
	abreast = 8
)

var (
	rounds = flag.Int("attack.rounds", 2, "how often the quick attacks are repeated")
	idle   = flag.Bool("attack.idle", false, "also wait for the end of idle connections, a minute")
)

// attack is one row of a table.
type attack struct {
	name string
	// slow ones wait for a limit of the gateway: they run once, beside the others.
	slow bool
	// alone ones use up what others need: they run when the others have ended.
	alone bool
	// run returns what was not as documented.
	run func(ctx context.Context, g *gateway) error
}

// group is a table.
type group struct {
	name string
	rows []attack
}

// tables are all attacks.
func tables(t *testing.T, g *gateway) []group {
	t.Helper()
	return []group{
		{"framing", framing()},
		{"heads", heads()},
		{"targets", targets()},
		{"methods", methods()},
		{"keys", keys()},
		{"media", media()},
		{"frames", rpcFrames()},
		{"params", params(t, g)},
		{"exec", execBodies()},
		{"streams", eventStreams()},
		{"blobs", blobs(t, g)},
		{"handshakes", handshakes()},
		{"messages", messages()},
		{"pace", pace()},
	}
}

func TestAttack(t *testing.T) {
	g := launch(t)
	friend := befriend(t, g)
	all := tables(t, g)
	count := 0
	var slow sync.WaitGroup
	late := map[string]error{}
	var mu sync.Mutex
	for _, table := range all {
		count += len(table.rows)
		for _, row := range table.rows {
			if row.slow {
				slow.Go(func() {
					err := row.run(t.Context(), g)
					mu.Lock()
					defer mu.Unlock()
					late[table.name+"/"+row.name] = err
				})
			}
		}
	}
	if count < atLeast {
		t.Errorf("%d attacks, want %d", count, atLeast)
	}
	var before usage
	for n := range *rounds {
		failed := round(t.Context(), g, all)
		if n == 0 {
			report(t, all, failed)
			slow.Wait() // what they hold is not to be measured
			before = settle(t, g, usage{})
			continue
		}
		for name, err := range failed {
			t.Errorf("round %d: %s: %v", n+1, name, err)
		}
	}
	for name, err := range late {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	after := settle(t, g, before)
	t.Logf("%d attacks, %d rounds; before: %v; after: %v; the friend made %d calls", count, *rounds, before, after, friend.stop(t))
	judge(t, before, after)
	select {
	case err := <-g.ended:
		t.Fatalf("the gateway ended: %v\n%s", err, g.log(t))
	default:
	}
	g.stop(t)
	g.judgeLog(t)
}

// round runs the quick attacks and returns those that failed.
func round(ctx context.Context, g *gateway, all []group) map[string]error {
	places := make(chan struct{}, abreast)
	failed := map[string]error{}
	var mu sync.Mutex
	var running sync.WaitGroup
	run := func(table group, row attack) {
		if err := row.run(ctx, g); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[table.name+"/"+row.name] = err
		}
	}
	for _, table := range all {
		for _, row := range table.rows {
			if row.slow || row.alone {
				continue
			}
			places <- struct{}{}
			running.Go(func() {
				defer func() { <-places }()
				run(table, row)
			})
		}
	}
	running.Wait()
	for _, table := range all {
		for _, row := range table.rows {
			if row.alone {
				run(table, row)
			}
		}
	}
	return failed
}

// report makes a test of every attack.
func report(t *testing.T, all []group, failed map[string]error) {
	t.Helper()
	for _, table := range all {
		t.Run(table.name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, row := range table.rows {
				if seen[row.name] {
					t.Errorf("two rows are called %s", row.name)
				}
				seen[row.name] = true
				t.Run(row.name, func(t *testing.T) {
					if err := failed[table.name+"/"+row.name]; err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// judge compares what the process held after one round and after many.
func judge(t *testing.T, before, after usage) {
	t.Helper()
	for _, c := range []struct {
		what          string
		before, after int64
		more          int64 // how much more is no leak
	}{
		{"bytes of heap", before.heap, after.heap, 16 << 20},
		{"goroutines", before.goroutines, after.goroutines, 10},
		{"file descriptors", before.files, after.files, 10},
		{"bytes of resident memory", before.rss, after.rss, 256 << 20},
	} {
		if c.after > c.before+c.more {
			t.Errorf("%d %s after the attacks, %d before", c.after, c.what, c.before)
		}
	}
}

func mismatch(what string, got, want any) error { return fmt.Errorf("%s %v, want %v", what, got, want) }
