package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// figure is one line of the report.
type figure struct {
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Target is "<= 0.6", or empty for what is only told.
	Target string `json:"target"`
	// OK says whether the target holds; null without one.
	OK *bool `json:"ok"`
	// Runs is how many observations Value is of.
	Runs   int            `json:"runs"`
	Detail map[string]any `json:"detail"`
}

// informative is a figure without a target.
func informative(name string, value float64, unit string, runs int, detail map[string]any) figure {
	return figure{Figure: name, Value: round(value), Unit: unit, Runs: runs, Detail: detail}
}

// atMost is a figure whose target is an upper bound.
func atMost(limit float64, name string, value float64, unit string, runs int, detail map[string]any) figure {
	f := informative(name, value, unit, runs, detail)
	ok := value <= limit
	f.Target, f.OK = fmt.Sprintf("<= %g", limit), &ok
	return f
}

// atLeast is a figure whose target is a lower bound.
func atLeast(limit float64, name string, value float64, unit string, runs int, detail map[string]any) figure {
	f := informative(name, value, unit, runs, detail)
	ok := value >= limit
	f.Target, f.OK = fmt.Sprintf(">= %g", limit), &ok
	return f
}

// round keeps three decimals: more is noise.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// millis is a duration in milliseconds.
func millis(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// times are observations of one kind.
type times []time.Duration

// at is the q-quantile by nearest rank, so it is one that was observed.
func (t times) at(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// median is the middle one; of an even number the mean of the middle two.
func (t times) median() time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// spread is what the details say of observations.
func (t times) spread() map[string]any {
	return map[string]any{
		"p50_ms": millis(t.at(0.5)), "p90_ms": millis(t.at(0.9)), "p99_ms": millis(t.at(0.99)), "max_ms": millis(t.at(1)),
	}
}
