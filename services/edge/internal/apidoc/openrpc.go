package apidoc

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

// openRPCVersion is the version of https://spec.open-rpc.org the document follows.
const openRPCVersion = "1.3.2"

const openRPCText = "JSON-RPC 2.0 on `POST /jsonrpc` and in the text frames of the WebSocket `/ws`. Every call may fail with every error below. " +
	"What the gateway sends by itself on a WebSocket is in `x-notifications`, and in `/asyncapi.json` with the rest."

// document is an OpenRPC document.
type document struct {
	OpenRPC string       `json:"openrpc"`
	Info    info         `json:"info"`
	Methods []methodSpec `json:"methods"`
	// Components holds the errors, which are the same for every method.
	Components components `json:"components"`
	// Notifications is an extension: what the server sends on a WebSocket.
	Notifications []notificationSpec `json:"x-notifications,omitempty"` //nolint:tagliatelle // OpenRPC names extensions so
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
	Name    string       `json:"name"`
	Summary string       `json:"summary"`
	Params  []descriptor `json:"params"`
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
	after, name, summary string
	params               any
}{
	{apiv1.MethodJobSubscribe, apiv1.NotifyJobEvent, "One event of a subscribed job.", apiv1.JobEventNotification{}},
	{apiv1.MethodJobSubscribe, apiv1.NotifySubscriptionClosed, "A subscription has ended, and why.", apiv1.SubscriptionClosed{}},
}

// OpenRPC describes every method of a table, with schemas derived from the Go
// types it was registered with.
func OpenRPC(m *jsonrpc.Mux, version string) (json.RawMessage, error) {
	doc := document{
		OpenRPC: openRPCVersion, Info: infoOf(version, openRPCText),
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
			return nil, fmt.Errorf("apidoc: describe %s: %w", name, err)
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
			return nil, fmt.Errorf("apidoc: describe %s: %w", n.name, err)
		}
		for i := range params {
			loosen(params[i].Schema)
		}
		doc.Notifications = append(doc.Notifications, notificationSpec{Name: n.name, Summary: n.summary, Params: params})
	}
	return encode(doc)
}

func describe(m *jsonrpc.Method) (methodSpec, error) {
	spec := methodSpec{
		Name: m.Name, Summary: m.Doc.Summary, Scope: m.Doc.Scope,
		ParamStructure: "either",
	}
	var err error
	if spec.Params, err = describeParams(m.Doc.Params); err != nil {
		return spec, err
	}
	result, err := answersSchema(m.Doc.Results)
	if err != nil {
		return spec, err
	}
	spec.Result = descriptor{Name: "result", Schema: result}
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
