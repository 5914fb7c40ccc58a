package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// procInfo names one process: a number alone may pass to another one.
type procInfo struct {
	pid, parent int
	state       string
	started     string
	command     string
}

func (p procInfo) String() string { return fmt.Sprintf("%d %s %s", p.pid, p.state, p.command) }

// needProc skips where there is no /proc to look for processes in.
func needProc(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc: processes of jobs are looked for there")
	}
}

// process reads one process; ok is false when it is gone.
func process(pid int) (p procInfo, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, false
	}
	head, rest, found := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return p, false
	}
	_, name, _ := strings.Cut(head, "(")
	p = procInfo{pid: pid, state: fields[0], started: fields[19], command: name}
	p.parent, err = strconv.Atoi(fields[1])
	return p, err == nil
}

// processes is every process there is.
func processes() []procInfo {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var all []procInfo
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if p, ok := process(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// descendants is every process below one.
func descendants(pid int) []procInfo {
	children := map[int][]procInfo{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p)
	}
	var below []procInfo
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			below = append(below, p)
			next = append(next, p.pid)
		}
	}
	return below
}

// alive are those that still run. A zombie does not: it waits for a parent that
// may be the container's first process and never look.
func alive(list []procInfo) []procInfo {
	var left []procInfo
	for _, was := range list {
		if p, ok := process(was.pid); ok && p.started == was.started && p.state != "Z" && p.state != "X" {
			left = append(left, p)
		}
	}
	return left
}

// running leaves out the first process of a jail that was not made yet when its
// parent was killed: bubblewrap ties it to its parent only when it is set up,
// and one that is not waits. It has no child and runs nothing of a job; the next
// start ends it.
func running(list []procInfo) []procInfo {
	return slices.DeleteFunc(list, func(p procInfo) bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.pid))
		return p.command == "bwrap" && err == nil && len(children) == 0
	})
}

// marked are the running processes whose command line holds a marker.
func marked(marker string) []procInfo {
	var found []procInfo
	for _, p := range processes() {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if err == nil && strings.Contains(string(raw), marker) && p.pid != os.Getpid() {
			found = append(found, p)
		}
	}
	return alive(found)
}
