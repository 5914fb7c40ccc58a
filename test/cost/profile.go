package main

import (
	"fmt"
	"strings"
	"time"
)

// profile is a job as it is on the real model, and how much faster it is played
// here. Times of the gateway that follow the clock (heartbeats, the flush of
// deltas) are divided by the same number, so that as many fall into the job.
type profile struct {
	name string
	// takes is how long the job takes.
	takes time.Duration
	// commands it runs, each takes a part of the time; messages of streamed text
	// between them, each of some deltas.
	commands, messages, deltas int
	// text is how long one message streams.
	text time.Duration
	// faster is the factor.
	faster int
}

// profiles are the jobs of the report. Codex speaks little while it works: the
// time goes to commands and to the model's thinking, of which nothing is stored.
func profiles() []profile {
	return []profile{
		{name: "30 s", takes: 30 * time.Second, commands: 4, messages: 2, deltas: 40, text: 2 * time.Second, faster: 10},
		{name: "10 min", takes: 10 * time.Minute, commands: 30, messages: 10, deltas: 40, text: 2 * time.Second, faster: 40},
	}
}

// prompt is the script that the mock model plays.
func (p profile) prompt() string {
	rest := p.takes - time.Duration(p.messages)*p.text
	each := (rest / time.Duration(p.commands) / time.Duration(p.faster)).Seconds()
	delta := max(1, int((p.text / time.Duration(p.deltas) / time.Duration(p.faster)).Milliseconds()))
	var b strings.Builder
	said := 0
	for i := range p.commands {
		if said*p.commands < i*p.messages {
			fmt.Fprintf(&b, "mock: deltas %d %d\n", p.deltas, delta)
			said++
		}
		fmt.Fprintf(&b, "mock: shell sleep %.2f; echo step %d >> steps.txt\n", each, i)
	}
	for ; said < p.messages; said++ {
		fmt.Fprintf(&b, "mock: deltas %d %d\n", p.deltas, delta)
	}
	return b.String()
}
