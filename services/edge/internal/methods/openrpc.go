package methods

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

// openRPCVersion is the version of https://spec.open-rpc.org the document follows.
const openRPCVersion = "1.3.2"

// document is an OpenRPC document.
type document struct {
	OpenRPC string       `json:"openrpc"`
	Info    documentInfo `json:"info"`
	Methods []methodSpec `json:"methods"`
	// Components holds the errors, which are the same for every method.
	Components components `json:"components"`
	// Notifications is an extension: what the server sends on a WebSocket.
	Notifications []notificationSpec `json:"x-notifications,omitempty"` //nolint:tagliatelle // OpenRPC names extensions so
}

type documentInfo struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type methodSpec struct {
	Name           string       `json:"name"`
	Summary        string       `json:"summary"`
	ParamStructure string       `json:"paramStructure"` //nolint:tagliatelle // OpenRPC
	Params         []descriptor `json:"params"`
	Result         descriptor   `json:"result"`
	Errors         []reference  `json:"errors"`
	// Scope is an extension: the scope a key needs.
	Scope string `json:"x-scope,omitempty"` //nolint:tagliatelle // OpenRPC names extensions so
}

type notificationSpec struct {
	Name   string       `json:"name"`
	Params []descriptor `json:"params"`
}

type descriptor struct {
	Name     string             `json:"name"`
	Required bool               `json:"required,omitempty"`
	Schema   *jsonschema.Schema `json:"schema"`
}

type components struct {
	Errors map[errs.Code]errorSpec `json:"errors"`
}

type reference struct {
	Ref string `json:"$ref"`
}

type errorSpec struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// notifications are what the methods of a WebSocket lead to.
var notifications = []struct {
	after, name string
	params      any
}{
	{apiv1.MethodJobSubscribe, apiv1.NotifyJobEvent, apiv1.JobEventNotification{}},
	{apiv1.MethodJobSubscribe, apiv1.NotifySubscriptionClosed, apiv1.SubscriptionClosed{}},
}

// OpenRPC describes every method of a table, with schemas derived from the Go
// types it was registered with.
func OpenRPC(m *jsonrpc.Mux, version string) (json.RawMessage, error) {
	doc := document{
		OpenRPC: openRPCVersion, Info: documentInfo{Title: "Codex Gateway", Version: version},
		Components: components{Errors: make(map[errs.Code]errorSpec)},
	}
	var failures []reference
	for _, row := range errs.Registry {
		if row.Scope == errs.Request {
			doc.Components.Errors[row.Code] = errorSpec{Code: row.RPC, Message: row.Message}
			failures = append(failures, reference{Ref: "#/components/errors/" + string(row.Code)})
		}
	}
	for _, name := range m.Methods() {
		method, ok := m.Lookup(name)
		if !ok {
			continue
		}
		spec, err := describe(&method)
		if err != nil {
			return nil, fmt.Errorf("methods: describe %s: %w", name, err)
		}
		spec.Errors = failures
		doc.Methods = append(doc.Methods, spec)
	}
	for _, n := range notifications {
		if _, ok := m.Lookup(n.after); !ok {
			continue
		}
		params, err := describeParams(n.params)
		if err != nil {
			return nil, fmt.Errorf("methods: describe %s: %w", n.name, err)
		}
		for i := range params {
			loosen(params[i].Schema)
		}
		doc.Notifications = append(doc.Notifications, notificationSpec{Name: n.name, Params: params})
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("methods: encode OpenRPC: %w", err)
	}
	return raw, nil
}

func describe(m *jsonrpc.Method) (methodSpec, error) {
	spec := methodSpec{
		Name: m.Name, Summary: m.Doc.Summary, Scope: m.Doc.Scope,
		ParamStructure: "by-name",
	}
	var err error
	if spec.Params, err = describeParams(m.Doc.Params); err != nil {
		return spec, err
	}
	results := make([]*jsonschema.Schema, len(m.Doc.Results))
	for i, r := range m.Doc.Results {
		if results[i], err = schemaOf(r); err != nil {
			return spec, err
		}
		loosen(results[i])
	}
	spec.Result = descriptor{Name: "result", Schema: &jsonschema.Schema{OneOf: results}}
	if len(results) == 1 {
		spec.Result.Schema = results[0]
	}
	return spec, nil
}

// describeParams lists the fields of a params struct.
func describeParams(params any) ([]descriptor, error) {
	schema, err := schemaOf(params)
	if err != nil {
		return nil, err
	}
	out := []descriptor{}
	for _, field := range schema.PropertyOrder {
		out = append(out, descriptor{
			Name: field, Required: slices.Contains(schema.Required, field), Schema: schema.Properties[field],
		})
	}
	return out, nil
}

// schemaOf derives a schema from a prototype. Raw JSON may be anything.
func schemaOf(prototype any) (*jsonschema.Schema, error) {
	return jsonschema.ForType(reflect.TypeOf(prototype), &jsonschema.ForOptions{
		TypeSchemas: map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[json.RawMessage](): {}},
	})
}

// loosen makes the schema of a params struct that of a result: results gain
// fields over time, and their lists are never null.
func loosen(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if slices.Contains(s.Types, "array") {
		s.Types, s.Type = nil, "array"
	}
	if s.Type == "object" && s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		loosen(p)
	}
	loosen(s.Items)
}
