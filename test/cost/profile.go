package main

import (
	"fmt"
	"strings"
	"time"
)

// profile is a job as it is on the real model, and how much faster its waits are
// played here: commands and the model's thinking, of which nothing is stored.
// The heartbeats that fall into its real time are added, see heartbeats. Text streams at its real speed, and is stored at the real pace: how much of it
// is one batch must not depend on the factor.
type profile struct {
	Name string `json:"name"`
	// Takes is how long the job takes.
	Takes time.Duration `json:"takes_ns"`
	// Commands that it runs, which share the time; Messages of streamed text, the
	// last of which is the answer.
	Commands int `json:"commands"`
	Messages int `json:"messages"`
	// faster is the factor.
	faster int
}

// A message is streamed for text, at the pace of a fast model.
const (
	text       = 1500 * time.Millisecond
	deltaEvery = 25 * time.Millisecond
)

// profiles are the jobs of the report.
func profiles() []profile {
	return []profile{
		{Name: "30 s", Takes: 30 * time.Second, Commands: 3, Messages: 1, faster: 10},
		{Name: "10 min", Takes: 10 * time.Minute, Commands: 30, Messages: 6, faster: 40},
	}
}

// words are what the profile is, for people.
func (p profile) words() string {
	return fmt.Sprintf("%s: %d commands, %d messages of %s streamed text", p.Name, p.Commands, p.Messages, text)
}

// prompt is the script that the mock model plays: the messages spread over the
// commands, the last one after them.
func (p profile) prompt() string {
	waits := p.Takes - time.Duration(p.Messages)*text
	each := (waits / time.Duration(p.Commands) / time.Duration(p.faster)).Seconds()
	say := fmt.Sprintf("mock: deltas %d %d\n", text/deltaEvery, deltaEvery.Milliseconds())
	var b strings.Builder
	said := 0
	for i := range p.Commands {
		for ; said < i*p.Messages/p.Commands; said++ {
			b.WriteString(say)
		}
		fmt.Fprintf(&b, "mock: shell sleep %.2f; echo step %d >> steps.txt\n", each, i)
	}
	for ; said < p.Messages; said++ {
		b.WriteString(say)
	}
	return b.String()
}
