package main

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// openRPC is the part of the edge's OpenRPC document that the page shows.
type openRPC struct {
	Methods []struct {
		Name    string  `json:"name"`
		Summary string  `json:"summary"`
		Scope   string  `json:"x-scope"` //nolint:tagliatelle // OpenRPC names extensions so
		Params  []param `json:"params"`
		Result  param   `json:"result"`
	} `json:"methods"`
	Notifications []struct {
		Name    string  `json:"name"`
		Summary string  `json:"summary"`
		Params  []param `json:"params"`
	} `json:"x-notifications"` //nolint:tagliatelle // OpenRPC names extensions so
}

type param struct {
	Name     string          `json:"name"`
	Required bool            `json:"required"`
	Schema   json.RawMessage `json:"schema"`
}

// shape is the part of a JSON Schema that says what a value looks like.
type shape struct {
	Type       any                        `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Items      json.RawMessage            `json:"items"`
	AnyOf      []json.RawMessage          `json:"anyOf"` //nolint:tagliatelle // JSON Schema
}

// describe says what a schema allows, in a few words.
func describe(raw json.RawMessage) string {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil || s.Type == nil && len(s.AnyOf) == 0 {
		return "any JSON"
	}
	if len(s.AnyOf) > 0 {
		parts := make([]string, len(s.AnyOf))
		for i, one := range s.AnyOf {
			parts[i] = describe(one)
		}
		return strings.Join(parts, " or ")
	}
	switch name := typeName(s.Type); name {
	case "array":
		return "[" + describe(s.Items) + "]"
	case "object":
		if len(s.Properties) == 0 {
			return "object"
		}
		names := make([]string, 0, len(s.Properties))
		for n := range s.Properties {
			names = append(names, n)
		}
		sort.Strings(names)
		return "{" + strings.Join(names, ", ") + "}"
	default:
		return name
	}
}

// typeName is the type of a schema; null beside another type says only that
// the parameter may be left out.
func typeName(t any) string {
	if name, ok := t.(string); ok {
		return name
	}
	list, ok := t.([]any)
	if !ok {
		return "any"
	}
	for _, one := range list {
		if name, ok := one.(string); ok && name != "null" {
			return name
		}
	}
	return "null"
}

func methodsPage(document []byte) ([]byte, error) {
	var doc openRPC
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("decode OpenRPC document: %w", err)
	}
	d := newDoc("Methods", "JSON-RPC 2.0 on `POST /jsonrpc` and on the WebSocket `/ws`. A running gateway describes itself with the same\n"+
		"content: `GET /openrpc.json` or the method `rpc.discover`, with the full schemas. Params go by name, or by position in the\n"+
		"order of the tables; unknown ones are refused.")
	for _, m := range doc.Methods {
		d.heading(m.Name)
		d.WriteString(m.Summary)
		if m.Scope != "" {
			d.WriteString(" Scope: " + code(m.Scope) + ".")
		}
		d.WriteString("\n\n")
		d.params(m.Params)
		d.WriteString("\nResult: " + code(describe(m.Result.Schema)) + "\n")
	}
	for _, n := range doc.Notifications {
		d.heading("Notification " + n.Name)
		d.WriteString(n.Summary + " Sent on the WebSocket.\n\n")
		d.params(n.Params)
	}
	return d.Bytes(), nil
}

func (d *doc) params(params []param) {
	if len(params) == 0 {
		d.WriteString("No params.\n")
		return
	}
	d.table("Param", "Type", "Required")
	for _, p := range params {
		d.row(code(p.Name), code(describe(p.Schema)), yes(p.Required))
	}
}
