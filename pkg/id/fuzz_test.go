package id_test

import (
	"strings"
	"testing"

	"codexgateway.dev/pkg/id"
)

// FuzzIs: what passes for an id can be in a path, a file name and a log.
func FuzzIs(f *testing.F) {
	for _, seed := range []string{id.New(id.Job), "job_", "job_../../../../../../../etc/pw", "job_0000000000000000000000000\x00", "JOB_00000000000000000000000000", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id.Is(id.Job, s) && (len(s) != 30 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "") {
			t.Errorf("%q passes for an id", s)
		}
	})
}
