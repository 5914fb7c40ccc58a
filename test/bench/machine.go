package main

import (
	"context"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"codexgateway.dev/services/worker/codexversion"
)

// machine describes where a run was made: figures of two machines do not
// compare. It has no names and no paths.
type machine struct {
	CPUs      int     `json:"cpus"`
	Model     string  `json:"model"`
	MemoryGiB float64 `json:"memory_gib"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
	Codex     string  `json:"codex"`
	Date      string  `json:"date"`
}

func describe(ctx context.Context) machine {
	m := machine{
		CPUs: runtime.NumCPU(), Kernel: output(ctx, "uname", "-srm"), Go: runtime.Version(),
		Codex: codexversion.Pinned(), Date: time.Now().UTC().Format(time.DateOnly),
	}
	if runtime.GOOS == "linux" {
		m.Model = procField("/proc/cpuinfo", "model name")
		kib, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
		if n, err := strconv.ParseFloat(kib, 64); err == nil {
			m.MemoryGiB = math.Round(n/(1<<20)*10) / 10
		}
		return m
	}
	m.Model = output(ctx, "sysctl", "-n", "machdep.cpu.brand_string")
	if n, err := strconv.ParseFloat(output(ctx, "sysctl", "-n", "hw.memsize"), 64); err == nil {
		m.MemoryGiB = math.Round(n/(1<<30)*10) / 10
	}
	return m
}

// output is what a command says; empty when there is no such command.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// procField is the first value of a "name : value" file; empty without one.
func procField(file, name string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is the system's load of the last minute: it tells a busy machine,
// where absolute times mean little. 0 where it is not known.
func loadAverage() float64 {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
