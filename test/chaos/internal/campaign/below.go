package campaign

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// servers are the Codex processes of jobs below a worker, warm or in use. The
// short-lived ones that the worker asks for a version are not: a worker that
// cannot tell the version of its Codex ends by itself, as it should.
func servers(worker int) []int {
	return slices.DeleteFunc(below(worker, "codex"), func(pid int) bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err != nil || !strings.Contains(string(raw), "app-server")
	})
}

// below are the processes of a program below another process, from /proc; none
// where there is no /proc.
func below(pid int, program string) []int {
	children := map[int][]int{}
	names := map[int]string{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, dir := range dirs {
		raw, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it is gone
		}
		head, rest, ok := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		id, name, _ := strings.Cut(head, " (")
		self, err1 := strconv.Atoi(id)
		parent, err2 := strconv.Atoi(fields[1])
		if err1 != nil || err2 != nil {
			continue
		}
		children[parent] = append(children[parent], self)
		names[self] = name
	}
	var found []int
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, c := range children[next[0]] {
			next = append(next, c)
			if names[c] == program {
				found = append(found, c)
			}
		}
	}
	return found
}

// leftovers are running processes whose program lies in a directory.
func leftovers(dir string) []int {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil
	}
	var found []int
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dir+string(filepath.Separator)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/exe", &pid); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
