package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
)

// The way of one prompt is drawn for people in two places and written as data
// in a third. They must name the same topics, and a fan-out in the picture must
// be one in the data.
func TestThePictureIsTheTopicTable(t *testing.T) {
	t.Parallel()
	var want []string
	for _, topic := range events.Topics {
		want = append(want, topic.Name)
	}
	slices.Sort(want)
	named := regexp.MustCompile(`topic ([a-z]+-[a-z]+)`)
	fanOut := regexp.MustCompile(`topic ([a-z]+-[a-z]+) +\(fan-out`)
	for _, file := range []string{"README.md", "docs/architecture.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range named.FindAllSubmatch(text, -1) {
			got = append(got, string(m[1]))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
		for _, m := range fanOut.FindAllSubmatch(text, -1) {
			for _, s := range events.Subscriptions {
				if s.Topic == string(m[1]) && s.Mode != events.PerInstance {
					t.Errorf("%s draws %s as a fan-out, %s is %s", file, m[1], s.Name, s.Mode)
				}
			}
		}
	}
}
