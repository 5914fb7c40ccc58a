package apidoc

import (
	"encoding/json"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

// asyncAPIVersion is the version of https://www.asyncapi.com/docs/reference the document follows.
const asyncAPIVersion = "3.0.0"

const asyncAPIText = "What a client sends and gets on a WebSocket, and what a stream of a job's events carries. A subscriber names the seq of the last " +
	"event it has and gets every later one once, in order; it resumes by the same. A WebSocket closed with 4000 to 4499 is for reconnecting and " +
	"resuming, one closed with 4500 to 4999 is not."

// Where the parts of the document are.
const (
	channelSocket = "socket"
	channelEvents = "jobEvents"
	messageAnswer = "answer"
	messageError  = "error"
	messageEvent  = "event"
	messages      = "#/components/messages/"
	socketMessage = "#/channels/" + channelSocket + "/messages/"
)

type asyncAPI struct {
	AsyncAPI           string                    `json:"asyncapi"`
	Info               info                      `json:"info"`
	DefaultContentType string                    `json:"defaultContentType"` //nolint:tagliatelle // AsyncAPI
	Channels           map[string]channel        `json:"channels"`
	Operations         map[string]asyncOperation `json:"operations"`
	Components         asyncParts                `json:"components"`
}

type channel struct {
	Address     string                      `json:"address"`
	Description string                      `json:"description"`
	Messages    map[string]reference        `json:"messages"`
	Parameters  map[string]channelParameter `json:"parameters,omitempty"`
	Bindings    map[string]any              `json:"bindings,omitempty"`
}

type channelParameter struct {
	Description string `json:"description"`
}

type asyncOperation struct {
	// Action is what the gateway does.
	Action   string         `json:"action"`
	Summary  string         `json:"summary"`
	Channel  reference      `json:"channel"`
	Messages []reference    `json:"messages"`
	Reply    *asyncReply    `json:"reply,omitempty"`
	Security []reference    `json:"security"`
	Bindings map[string]any `json:"bindings,omitempty"`
}

type asyncReply struct {
	Channel  reference   `json:"channel"`
	Messages []reference `json:"messages"`
}

type asyncParts struct {
	Messages        map[string]message       `json:"messages"`
	SecuritySchemes map[string]asyncSecurity `json:"securitySchemes"` //nolint:tagliatelle // AsyncAPI
}

// asyncSecurity is a way to present a key: AsyncAPI says httpApiKey for a header.
type asyncSecurity struct {
	Type        string `json:"type"`
	Description string `json:"description"`
	Name        string `json:"name,omitempty"`
	In          string `json:"in,omitempty"`
	Scheme      string `json:"scheme,omitempty"`
}

type message struct {
	Name        string             `json:"name"`
	Summary     string             `json:"summary"`
	ContentType string             `json:"contentType,omitempty"` //nolint:tagliatelle // AsyncAPI
	Payload     *jsonschema.Schema `json:"payload"`
}

// AsyncAPI describes what a WebSocket and a stream of events carry.
func AsyncAPI(s *Surface) (json.RawMessage, error) {
	doc := asyncAPI{
		AsyncAPI: asyncAPIVersion, Info: infoOf(s.Version, asyncAPIText), DefaultContentType: typeJSON,
		Channels: map[string]channel{
			channelSocket: {
				Address: "/ws", Messages: map[string]reference{}, Bindings: map[string]any{"ws": map[string]any{"method": "GET", "bindingVersion": "0.1.0"}},
				Description: "JSON-RPC 2.0 in text frames, both ways. A frame may hold a batch of at most 50. Calls of different frames are served at once, and their answers come in any order.",
			},
		},
		Operations: map[string]asyncOperation{},
		Components: asyncParts{Messages: map[string]message{}, SecuritySchemes: map[string]asyncSecurity{}},
	}
	for name, scheme := range securitySchemes {
		as := asyncSecurity(scheme)
		if as.Type == "apiKey" {
			as.Type = "httpApiKey"
		}
		doc.Components.SecuritySchemes[name] = as
	}
	if err := doc.methods(s.Socket); err != nil {
		return nil, err
	}
	if err := doc.notifications(s.Socket); err != nil {
		return nil, err
	}
	if err := doc.stream(); err != nil {
		return nil, err
	}
	return encode(doc)
}

// carry adds a message to the WebSocket.
func (d *asyncAPI) carry(key string, m *message) {
	d.Components.Messages[key] = *m
	d.Channels[channelSocket].Messages[key] = reference{Ref: messages + key}
}

// security is what every channel wants.
func (d *asyncAPI) security() []reference {
	return []reference{{Ref: "#/components/securitySchemes/apiKey"}, {Ref: "#/components/securitySchemes/bearer"}, {Ref: "#/components/securitySchemes/ticket"}}
}

// methods makes an operation of each method: the call is received, the answer
// is the reply.
func (d *asyncAPI) methods(m *jsonrpc.Mux) error {
	d.carry(messageError, &message{Name: messageError, Summary: "The answer to a call that failed.", Payload: object(
		[]string{"jsonrpc", "id", "error"},
		map[string]*jsonschema.Schema{"jsonrpc": constant("2.0"), "id": idSchema(), "error": rpcErrorSchema()},
	)})
	for _, name := range m.Methods() {
		method, ok := m.Lookup(name)
		if !ok {
			continue
		}
		params, err := schemaOf(method.Doc.Params)
		if err != nil {
			return fmt.Errorf("apidoc: describe %s: %w", name, err)
		}
		result, err := answersSchema(method.Doc.Results)
		if err != nil {
			return fmt.Errorf("apidoc: describe %s: %w", name, err)
		}
		call := object([]string{"jsonrpc", "id", "method", "params"}, map[string]*jsonschema.Schema{
			"jsonrpc": constant("2.0"), "id": idSchema(), "method": constant(name), "params": params,
		}, "id")
		if len(params.Required) == 0 {
			call.Required = []string{"jsonrpc", "method"}
		}
		answer := object([]string{"jsonrpc", "id", "result"}, map[string]*jsonschema.Schema{
			"jsonrpc": constant("2.0"), "id": idSchema(), "result": result,
		})
		d.carry(name, &message{Name: name, Summary: method.Doc.Summary, Payload: call})
		d.carry(name+"."+messageAnswer, &message{Name: name + "." + messageAnswer, Summary: "The answer to " + name + ".", Payload: answer})
		d.Operations[name] = asyncOperation{
			Action: "receive", Summary: method.Doc.Summary, Channel: reference{Ref: "#/channels/" + channelSocket},
			Messages: []reference{{Ref: socketMessage + name}}, Security: d.security(),
			Reply: &asyncReply{Channel: reference{Ref: "#/channels/" + channelSocket}, Messages: []reference{
				{Ref: socketMessage + name + "." + messageAnswer}, {Ref: socketMessage + messageError},
			}},
		}
	}
	return nil
}

// notifications makes an operation of each thing that the gateway sends unasked.
func (d *asyncAPI) notifications(m *jsonrpc.Mux) error {
	for _, n := range notifications {
		if _, ok := m.Lookup(n.after); !ok {
			continue
		}
		params, err := answerSchema(n.params)
		if err != nil {
			return fmt.Errorf("apidoc: describe %s: %w", n.name, err)
		}
		d.carry(n.name, &message{Name: n.name, Summary: n.summary, Payload: object(
			[]string{"jsonrpc", "method", "params"},
			map[string]*jsonschema.Schema{"jsonrpc": constant("2.0"), "method": constant(n.name), "params": params},
		)})
		d.Operations[n.name] = asyncOperation{
			Action: "send", Summary: n.summary, Channel: reference{Ref: "#/channels/" + channelSocket},
			Messages: []reference{{Ref: socketMessage + n.name}}, Security: d.security(),
		}
	}
	return nil
}

// stream makes the operation of a job's events over plain HTTP.
func (d *asyncAPI) stream() error {
	event, err := answerSchema(apiv1.Event{})
	if err != nil {
		return fmt.Errorf("apidoc: describe event: %w", err)
	}
	d.Components.Messages[messageEvent] = message{Name: messageEvent, Summary: "One event of a job's log.", Payload: event}
	d.Channels[channelEvents] = channel{
		Address: "/v1/jobs/{id}/events",
		Description: "The events of a job, by Accept: text/event-stream has one in each `data:` with its seq as `id:`, application/x-ndjson one on each line. " +
			"`?after=N` or, for text/event-stream, `Last-Event-ID` names the last seq the client has.",
		Messages:   map[string]reference{messageEvent: {Ref: messages + messageEvent}},
		Parameters: map[string]channelParameter{"id": {Description: "The job."}},
	}
	d.Operations[channelEvents] = asyncOperation{
		Action: "send", Summary: "Sends every event of a job after a seq, until the job has ended.", Channel: reference{Ref: "#/channels/" + channelEvents},
		Messages: []reference{{Ref: "#/channels/" + channelEvents + "/messages/" + messageEvent}}, Security: d.security(),
		Bindings: map[string]any{"http": map[string]any{"method": "GET", "bindingVersion": "0.3.0"}},
	}
	return nil
}
