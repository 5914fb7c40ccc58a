package deploy

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// schemaVar names Skaffold's own schema of skaffold.yaml, as its project
// publishes it for the apiVersion of the file.
const schemaVar = "CODEXGW_TEST_SKAFFOLD_SCHEMA"

func TestSkaffoldsOwnSchemaAcceptsTheFile(t *testing.T) {
	t.Parallel()
	name := os.Getenv(schemaVar)
	if name == "" {
		t.Skipf("NOT RUN, needs Skaffold's schema: a JSON file, named by %s", schemaVar)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	read(t, "skaffold.yaml", &file)
	if err := resolved.Validate(asJSON(t, file)); err != nil {
		t.Error(err)
	}
	// A schema that accepts everything would accept this too.
	file["buidl"] = true
	if resolved.Validate(asJSON(t, file)) == nil {
		t.Error("the schema accepts a field that does not exist")
	}
}

// asJSON is a value as JSON has it.
func asJSON(t *testing.T, v any) (out any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
