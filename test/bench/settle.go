package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/pkg/wait"
)

const (
	// settleLeast outlasts the gateway's own delay before it refills its pool
	// (300 ms), settleMost keeps the bench bounded on a busy machine.
	settleLeast = 600 * time.Millisecond
	settleMost  = 2 * time.Second
	// quietFor is how long the gateway and its processes must have used no CPU.
	quietFor = 100 * time.Millisecond
)

// settle waits until a gateway has nothing left to do after a job: the finished
// job's process is gone and the pool is full again. The gateway does not say
// so; what is seen from outside is that it and all below it use no CPU. Where
// there is no /proc it waits a second.
func settle(ctx context.Context, pid int) (time.Duration, error) {
	begin := time.Now()
	least := settleLeast
	if _, ok := ticks(pid); !ok {
		least = time.Second
	}
	if !wait.For(ctx, least) {
		return 0, context.Cause(ctx)
	}
	for time.Since(begin) < settleMost {
		before, ok := ticks(pid)
		if !ok {
			break
		}
		if !wait.For(ctx, quietFor) {
			return 0, context.Cause(ctx)
		}
		// A tick is 10 ms: one may be the gateway's own housekeeping.
		if after, _ := ticks(pid); after-before <= 1 && after >= before {
			break
		}
	}
	return time.Since(begin), nil
}

// ticks is the CPU time of a process and all below it; false where it is not known.
func ticks(pid int) (sum int64, ok bool) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, false
	}
	used, children := map[int]int64{}, map[int][]int{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// "pid (name) state ppid …": the name may hold anything, also ") ".
		text := string(raw)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || len(fields) < 13 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		used[id] = user + system
		children[parent] = append(children[parent], id)
	}
	_, ok = used[pid]
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		sum += used[next[0]]
		next = append(next, children[next[0]]...)
	}
	return sum, ok
}
