package events_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/events"
)

const schemaDir = "schemas"

// schemaOf is the JSON Schema of a type's data, from the Go payload.
func schemaOf(t *testing.T, spec events.Spec) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.ForType(reflect.TypeOf(spec.New()).Elem(), &jsonschema.ForOptions{
		TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			// A stored event of the log: its own contract, see docs.
			reflect.TypeFor[json.RawMessage](): {Type: "object"},
			reflect.TypeFor[time.Time]():       {Type: "string", Format: "date-time"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	open(schema)
	schema.Schema = "https://json-schema.org/draft/2020-12/schema"
	schema.ID = events.SchemaBase + spec.Type + ".json"
	schema.Title = spec.Type
	schema.Description = spec.Doc
	return schema
}

// open lets a schema and all within it have members it does not know: readers
// ignore them, so that services may be deployed in any order. It also takes
// null off the types of lists: an empty list is left out.
func open(s *jsonschema.Schema) {
	s.AdditionalProperties = nil
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		open(p)
	}
	if s.Items != nil {
		open(s.Items)
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, spec := range events.Registry {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			want, err := json.MarshalIndent(schemaOf(t, spec), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, '\n')
			file := filepath.Join(schemaDir, spec.Type+".json")
			if *update {
				if err := os.WriteFile(file, want, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s is stale, run with -update (-want +got):\n%s", file, diff)
			}
			if bytes.Contains(got, []byte("additionalProperties")) {
				t.Error("the schema is closed to new fields")
			}
		})
	}
}

// TestGoldenEventsMatchTheirSchemas reads both from disk, as another reader of
// the contract would, and proves that the schema says no to something.
func TestGoldenEventsMatchTheirSchemas(t *testing.T) {
	t.Parallel()
	if *update {
		t.Skip("the files are being written")
	}
	for _, spec := range events.Registry {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			var schema jsonschema.Schema
			readJSON(t, filepath.Join(schemaDir, spec.Type+".json"), &schema)
			resolved, err := schema.Resolve(nil)
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				DataSchema string         `json:"dataschema"`
				Data       map[string]any `json:"data"`
			}
			readJSON(t, filepath.Join(goldenDir, spec.Type+".json"), &golden)
			if golden.DataSchema != schema.ID {
				t.Errorf("dataschema is %q, the schema's id %q", golden.DataSchema, schema.ID)
			}
			if err := resolved.Validate(golden.Data); err != nil {
				t.Errorf("golden event: %v", err)
			}
			golden.Data["from_the_future"] = true
			if err := resolved.Validate(golden.Data); err != nil {
				t.Errorf("with a field it does not know: %v", err)
			}
			golden.Data["tenant"] = 1
			if err := resolved.Validate(golden.Data); err == nil {
				t.Error("a tenant that is a number was accepted")
			}
			delete(golden.Data, "tenant")
			if err := resolved.Validate(golden.Data); err == nil {
				t.Error("an event without its tenant was accepted")
			}
		})
	}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
