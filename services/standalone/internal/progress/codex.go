package progress

import (
	"encoding/json"
	"strings"
)

// notification is the data of an event of type codex. Only what is shown is
// decoded; whatever is missing or new is left alone.
type notification struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// item is a thread item of Codex, all kinds in one.
//
//nolint:tagliatelle // Codex's names
type item struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// Text is an agent message's.
	Text string `json:"text"`
	// Of a command.
	Command        string          `json:"command"`
	Cwd            string          `json:"cwd"`
	Status         string          `json:"status"`
	CommandActions []commandAction `json:"commandActions"`
	Output         string          `json:"aggregatedOutput"`
	ExitCode       *int            `json:"exitCode"`
	DurationMs     *int64          `json:"durationMs"`
	// Of a file change.
	Changes []change `json:"changes"`
	// Of a tool call or a search.
	Tool  string `json:"tool"`
	Query string `json:"query"`
}

type commandAction struct {
	Command string `json:"command"`
}

type change struct {
	Path string `json:"path"`
	Kind struct {
		Type     string `json:"type"`
		MovePath string `json:"move_path"`
	} `json:"kind"`
	Diff string `json:"diff"`
}

// script is the command as the model wrote it, without the shell around it.
func (it *item) script() string {
	if len(it.CommandActions) == 1 && it.CommandActions[0].Command != "" {
		return it.CommandActions[0].Command
	}
	for _, shell := range []string{"/bin/bash -lc ", "bash -lc ", "/bin/sh -c ", "sh -c "} {
		if rest, ok := strings.CutPrefix(it.Command, shell); ok {
			if inner, ok := strings.CutPrefix(rest, "'"); ok && strings.HasSuffix(inner, "'") {
				return strings.ReplaceAll(strings.TrimSuffix(inner, "'"), `'\''`, "'")
			}
			return rest
		}
	}
	return it.Command
}

// counts are the lines a change adds and removes. An added or deleted file's
// diff is its content, any other's is in hunks.
func (c *change) counts() (added, removed int) {
	lines := strings.Split(strings.TrimSuffix(c.Diff, "\n"), "\n")
	if c.Diff == "" {
		lines = nil
	}
	switch c.Kind.Type {
	case "add":
		return len(lines), 0
	case "delete":
		return 0, len(lines)
	}
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "+"):
			added++
		case strings.HasPrefix(l, "-"):
			removed++
		}
	}
	return added, removed
}

// The params of the notifications that are shown.
//
//nolint:tagliatelle // Codex's names
type (
	itemParams struct {
		Item item `json:"item"`
	}
	deltaParams struct {
		ItemID string `json:"itemId"`
		Delta  string `json:"delta"`
	}
	usageParams struct {
		TokenUsage struct {
			Total struct {
				Total     int64 `json:"totalTokens"`
				Input     int64 `json:"inputTokens"`
				Cached    int64 `json:"cachedInputTokens"`
				Output    int64 `json:"outputTokens"`
				Reasoning int64 `json:"reasoningOutputTokens"`
			} `json:"total"`
		} `json:"tokenUsage"`
	}
	errorParams struct {
		Error struct {
			Message string `json:"message"`
			Details string `json:"additionalDetails"`
		} `json:"error"`
		WillRetry bool `json:"willRetry"`
	}
	threadParams struct {
		Thread struct {
			Environments []struct {
				Cwd string `json:"cwd"`
			} `json:"environments"`
		} `json:"thread"`
	}
)
